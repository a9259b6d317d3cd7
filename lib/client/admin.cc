#include "millrace/admin.h"

#include "base/no_throw.h"
#include "client/public_impl.h"

namespace millrace {

Status Admin::CreateTopic(std::string_view name, TopicOptions o, OnExists e) {
  return NoThrow([&] { return impl_->admin->CreateTopic(name, o, e); });
}
Status Admin::DeleteTopic(std::string_view name) {
  return NoThrow([&] { return impl_->admin->DeleteTopic(name); });
}
Status Admin::AddPartitions(std::string_view name, int32_t total) {
  return NoThrow([&] { return impl_->admin->AddPartitions(name, total); });
}
Status Admin::SetTopicConfig(std::string_view name,
                             std::map<std::string, std::optional<std::string>> c) {
  return NoThrow([&] { return impl_->admin->SetTopicConfig(name, c); });
}
StatusOr<std::vector<std::string>> Admin::ListTopics(bool include_internal) {
  return NoThrow([&] { return impl_->admin->ListTopics(include_internal); });
}
StatusOr<TopicInfo> Admin::DescribeTopic(std::string_view name) {
  return NoThrow([&] { return impl_->admin->DescribeTopic(name); });
}
StatusOr<std::vector<TopicConfigInfo>> Admin::DescribeTopicConfig(std::string_view name) {
  return NoThrow([&] { return impl_->admin->DescribeTopicConfig(name); });
}
Status Admin::DeleteRecords(const OffsetMap& before) {
  return NoThrow([&] { return impl_->admin->DeleteRecords(before); });
}
StatusOr<std::vector<std::string>> Admin::ListGroups() {
  return NoThrow([&] { return impl_->admin->ListGroups(); });
}
StatusOr<GroupInfo> Admin::DescribeGroup(std::string_view group) {
  return NoThrow([&] { return impl_->admin->DescribeGroup(group); });
}
Status Admin::AlterGroupOffsets(std::string_view group, const OffsetMap& next) {
  return NoThrow([&] { return impl_->admin->AlterGroupOffsets(group, next); });
}
Status Admin::DeleteGroup(std::string_view group) {
  return NoThrow([&] { return impl_->admin->DeleteGroup(group); });
}
Status Admin::DeleteGroupOffsets(std::string_view group,
                                 const std::vector<TopicPartition>& partitions) {
  return NoThrow([&] { return impl_->admin->DeleteGroupOffsets(group, partitions); });
}

}  // namespace millrace
