#include "millrace/admin.h"

#include "base/errors.h"
#include "base/no_throw.h"
#include "client/public_impl.h"

namespace millrace {
namespace {

template <typename Impl, typename Call>
auto Ask(const std::shared_ptr<Impl>& impl, Call call) {
  return NoThrow([&]() -> decltype(call(*impl->admin)) {
    if (impl == nullptr)
      return MakeError(ErrorId::kInvalidArgument, "the admin belongs to no client (moved from?)");
    return call(*impl->admin);
  });
}

}  // namespace

Status Admin::CreateTopic(std::string_view name, TopicOptions o, OnExists e) {
  return Ask(impl_, [&](auto& admin) { return admin.CreateTopic(name, o, e); });
}
Status Admin::DeleteTopic(std::string_view name) {
  return Ask(impl_, [&](auto& admin) { return admin.DeleteTopic(name); });
}
Status Admin::AddPartitions(std::string_view name, int32_t total) {
  return Ask(impl_, [&](auto& admin) { return admin.AddPartitions(name, total); });
}
Status Admin::SetTopicConfig(std::string_view name,
                             std::map<std::string, std::optional<std::string>> c) {
  return Ask(impl_, [&](auto& admin) { return admin.SetTopicConfig(name, c); });
}
StatusOr<std::vector<std::string>> Admin::ListTopics(bool include_internal) {
  return Ask(impl_, [&](auto& admin) { return admin.ListTopics(include_internal); });
}
StatusOr<TopicInfo> Admin::DescribeTopic(std::string_view name) {
  return Ask(impl_, [&](auto& admin) { return admin.DescribeTopic(name); });
}
StatusOr<std::vector<TopicConfigInfo>> Admin::DescribeTopicConfig(std::string_view name) {
  return Ask(impl_, [&](auto& admin) { return admin.DescribeTopicConfig(name); });
}
Status Admin::DeleteRecords(const OffsetMap& before) {
  return Ask(impl_, [&](auto& admin) { return admin.DeleteRecords(before); });
}
StatusOr<std::vector<std::string>> Admin::ListGroups() {
  return Ask(impl_, [&](auto& admin) { return admin.ListGroups(); });
}
StatusOr<GroupInfo> Admin::DescribeGroup(std::string_view group) {
  return Ask(impl_, [&](auto& admin) { return admin.DescribeGroup(group); });
}
Status Admin::AlterGroupOffsets(std::string_view group, const OffsetMap& next) {
  return Ask(impl_, [&](auto& admin) { return admin.AlterGroupOffsets(group, next); });
}
Status Admin::DeleteGroup(std::string_view group) {
  return Ask(impl_, [&](auto& admin) { return admin.DeleteGroup(group); });
}
Status Admin::DeleteGroupOffsets(std::string_view group,
                                 const std::vector<TopicPartition>& partitions) {
  return Ask(impl_, [&](auto& admin) { return admin.DeleteGroupOffsets(group, partitions); });
}

}  // namespace millrace
