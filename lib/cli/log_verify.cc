#include "cli/log_verify.h"

#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "base/errors.h"
#include "base/status_macros.h"
#include "cli/json.h"
#include "cli/output.h"
#include "log/log_directory.h"
#include "log/partition_log.h"
#include "millrace/env.h"
#include "record/batch.h"

namespace millrace::cli {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

struct PartitionVerdict {
  std::string name;
  size_t segments = 0;
  Offset begin = 0, end = 0;
  int64_t batches = 0, records = 0;
  uint64_t bytes = 0;
  std::vector<log::DamagedRange> damage;
  std::vector<std::string> notes;  // worth knowing, and no damage
};

std::string DamageText(const log::DamagedRange& range) {
  std::string text = range.what;
  if (!range.file.empty())
    text = fmt::format("{} at byte {}: {}", range.file, range.position, text);
  if (range.first_offset >= 0)
    text += fmt::format(" (offsets [{}, {}))", range.first_offset, range.end_offset);
  return text;
}

// "orders-0" is partition 0; nullopt when it is not a partition's name.
std::optional<int32_t> PartitionOf(std::string_view folder) {
  const size_t dash = folder.find_last_of('-');
  if (dash == folder.npos || dash == 0) return std::nullopt;
  int32_t partition = 0;
  const std::string_view digits = folder.substr(dash + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), partition);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return partition;
}

// Checks one partition: batch by batch for what readers would get, then as the scrub does for what
// lies in the files.
class PartitionCheck {
 public:
  PartitionCheck(log::PartitionLog& log, PartitionVerdict& verdict)
      : log_(log), verdict_(verdict) {}

  void Run() {
    verdict_.segments = log_.segments().size();
    verdict_.begin = log_.log_start();
    verdict_.end = log_.log_end();
    verdict_.bytes = log_.size_bytes();
    ReadAll();
    for (bool done = false; !done;) {
      const StatusOr<bool> round = log_.Scrub(kReadBytes, pool_);
      if (!round.ok()) Damaged(round.status(), -1, -1);
      done = !round.ok() || *round;
    }
    AddKnownDamage(log_.damage());
    const log::RecoveryReport& recovery = log_.recovery();
    AddKnownDamage(recovery.damage);
    if (recovery.cut_bytes > 0) {
      verdict_.notes.push_back(
          fmt::format("{} bytes behind offset {} are the end of an interrupted write: the next "
                      "open for writing "
                      "cuts them",
                      recovery.cut_bytes, recovery.cut_offset));
    }
    verdict_.notes.insert(verdict_.notes.end(), recovery.notes.begin(), recovery.notes.end());
    verdict_.damage.insert(verdict_.damage.end(), found_.begin(), found_.end());
  }

 private:
  void ReadAll() {
    Offset next = verdict_.begin;
    while (next < verdict_.end) {
      const auto read = log_.Read(next, verdict_.end, kReadBytes, pool_);
      if (read.ok() && read->next_offset > next) {
        CheckBatches(read->bytes);
        next = read->next_offset;
        continue;
      }
      if (!read.ok()) Damaged(read.status(), next, -1);
      const std::optional<Offset> behind = BehindDamage(next);
      if (!behind) return;
      next = *behind;
    }
  }

  // Where reading can go on when it failed at `offset`.
  std::optional<Offset> BehindDamage(Offset offset) const {
    for (const log::DamagedRange& range : log_.damage())
      if (range.first_offset <= offset && offset < range.end_offset) return range.end_offset;
    // The next segment is the next place known to begin a batch.
    for (const log::SegmentInfo& segment : log_.segments())
      if (segment.base_offset > offset) return segment.base_offset;
    return std::nullopt;
  }

  void CheckBatches(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto header = record::ParseHeader(bytes);
      if (!header.ok() || header->size_bytes() > bytes.size()) return;
      const auto batch = bytes.first(header->size_bytes());
      ++verdict_.batches;
      verdict_.records += header->record_count;
      const Status records = record::ValidateRecords(*header, batch, {}, pool_);
      if (!records.ok()) Damaged(records, header->base_offset, header->next_offset());
      bytes = bytes.subspan(batch.size());
    }
  }

  void Damaged(const Status& status, Offset first, Offset end) {
    log::DamagedRange range;
    range.first_offset = first;
    range.end_offset = end;
    range.what = std::string(status.message().data(), status.message().size());
    found_.push_back(std::move(range));
  }

  // A reader's error and the log's own note can be about the same place: the note says more.
  void AddKnownDamage(const std::vector<log::DamagedRange>& known) {
    for (const log::DamagedRange& range : known) {
      const auto place = std::tuple(range.file, range.position, range.first_offset);
      if (!seen_.insert(place).second) continue;
      std::erase_if(found_, [&](const log::DamagedRange& found) {
        return found.first_offset >= range.first_offset && found.first_offset < range.end_offset;
      });
      verdict_.damage.push_back(range);
    }
  }

  log::PartitionLog& log_;
  PartitionVerdict& verdict_;
  BufferPool pool_;
  std::vector<log::DamagedRange> found_;
  std::set<std::tuple<std::string, uint64_t, Offset>> seen_;
};

// nullopt: a partition that nothing was written to yet, and that has no folder.
std::optional<PartitionVerdict> Check(log::LogDirectory& directory,
                                      const log::LogDirectory::Folder& folder) {
  PartitionVerdict verdict;
  verdict.name = folder.name;
  const std::optional<int32_t> partition = PartitionOf(folder.name);
  if (!partition) {
    verdict.notes.push_back("not the folder of a partition: left alone");
    return verdict;
  }
  const auto log =
      directory.OpenPartition(folder.name, folder.topic_id, *partition, log::LogConfig{}, false);
  if (absl::IsNotFound(log.status())) return std::nullopt;
  if (!log.ok()) {
    log::DamagedRange range;
    range.what = std::string(log.status().message().data(), log.status().message().size());
    verdict.damage.push_back(std::move(range));
    return verdict;
  }
  PartitionCheck(**log, verdict).Run();
  return verdict;
}

void PrintJson(Context& context, const std::vector<PartitionVerdict>& verdicts, bool clean) {
  JsonWriter json;
  json.BeginObject().Key("clean_close").Bool(clean).Key("partitions").BeginArray();
  for (const PartitionVerdict& verdict : verdicts) {
    json.BeginObject().Key("partition").Text(verdict.name);
    json.Key("segments").Number(static_cast<int64_t>(verdict.segments));
    json.Key("begin").Number(verdict.begin).Key("end").Number(verdict.end);
    json.Key("batches").Number(verdict.batches).Key("records").Number(verdict.records);
    json.Key("bytes").Number(static_cast<int64_t>(verdict.bytes));
    json.Key("damage").BeginArray();
    for (const log::DamagedRange& range : verdict.damage) {
      json.BeginObject().Key("file").Text(range.file);
      json.Key("position").Number(static_cast<int64_t>(range.position));
      json.Key("first_offset")
          .Number(range.first_offset)
          .Key("end_offset")
          .Number(range.end_offset);
      json.Key("what").Text(range.what).End();
    }
    json.End().Key("notes").BeginArray();
    for (const std::string& note : verdict.notes) json.Text(note);
    json.End().End();
  }
  json.End().End();
  context.out.Line(json.str());
}

void PrintText(Context& context, const std::vector<PartitionVerdict>& verdicts) {
  Table table({"PARTITION", "SEGMENTS", "BEGIN", "END", "BATCHES", "RECORDS", "BYTES", "VERDICT"});
  for (const PartitionVerdict& verdict : verdicts) {
    table.Row({verdict.name, std::to_string(verdict.segments), std::to_string(verdict.begin),
               std::to_string(verdict.end), WithThousands(verdict.batches),
               WithThousands(verdict.records), WithThousands(static_cast<int64_t>(verdict.bytes)),
               verdict.damage.empty() ? "good" : "DAMAGED"});
  }
  context.out.Write(table.Text());
  for (const PartitionVerdict& verdict : verdicts) {
    for (const log::DamagedRange& range : verdict.damage)
      context.out.Line(fmt::format("damage: {}: {}", verdict.name, DamageText(range)));
    for (const std::string& note : verdict.notes)
      context.out.Line(fmt::format("note: {}: {}", verdict.name, note));
  }
}

// Adds to `folders` those that the topics of the directory should have, and that are gone.
Status AddMissing(const Context& context, std::vector<log::LogDirectory::Folder>& folders) {
  MILLRACE_ASSIGN_OR_RETURN(Broker broker, OpenBroker(context, Access::kRead));
  Admin admin = broker.client().admin();
  std::set<std::string> present;
  for (const auto& folder : folders) present.insert(folder.name);
  MILLRACE_ASSIGN_OR_RETURN(const auto names, admin.ListTopics(true));
  for (const std::string& name : names) {
    const auto topic = admin.DescribeTopic(name);
    if (absl::IsNotFound(topic.status())) continue;  // deleted since
    MILLRACE_RETURN_IF_ERROR(topic.status());
    for (const PartitionInfo& partition : topic->partitions) {
      std::string folder = fmt::format("{}-{}", name, partition.id);
      if (present.contains(folder)) continue;
      folders.push_back({std::move(folder), Uuid::Parse(topic->id).value_or(Uuid())});
    }
  }
  return broker.Close();
}

}  // namespace

Status VerifyDirectory(Context& context, const std::string& path) {
  const auto files = FileSystem::Real();
  const auto clock = Clock::Real();
  log::LogDirectory::Options options;
  options.path = path;
  options.create_if_missing = false;
  options.read_only = true;
  MILLRACE_ASSIGN_OR_RETURN(const auto directory,
                            log::LogDirectory::Open(*files, *clock, std::move(options)));
  MILLRACE_ASSIGN_OR_RETURN(auto folders, directory->ListFolders());
  context.directory = path;
  const Status topics = AddMissing(context, folders);
  std::vector<PartitionVerdict> verdicts;
  size_t damaged = 0;
  ProgressLine progress;
  for (const log::LogDirectory::Folder& folder : folders) {
    progress.Show(fmt::format("{} of {}: {}", verdicts.size() + 1, folders.size(), folder.name));
    auto verdict = Check(*directory, folder);
    if (!verdict) continue;
    if (!verdict->damage.empty()) ++damaged;
    verdicts.push_back(std::move(*verdict));
  }
  progress.Clear();
  if (context.json) {
    PrintJson(context, verdicts, directory->was_clean());
  } else {
    PrintText(context, verdicts);
  }
  if (damaged == 0) return topics;
  return MakeError(ErrorId::kCorruptLog, fmt::format("{}: {} of {} partitions are damaged", path,
                                                     damaged, verdicts.size()));
}

}  // namespace millrace::cli
