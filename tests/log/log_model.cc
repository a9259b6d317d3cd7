#include "log/log_model.h"

#include <cstdlib>

#include <fmt/format.h>

#include "base/errors.h"
#include "record/codec.h"
#include "record/record_reader.h"

namespace millrace::log {
namespace {

bool MayBeThere(const Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() && detail->persistence != Persistence::kNotPersisted;
}

StatusOr<std::vector<std::string>> ValuesOf(const record::BatchHeader& header,
                                            std::span<const std::byte> batch) {
  auto payload = record::ExpandedPayload(header, batch, 1 << 20, TestPool());
  if (!payload.ok()) return payload.status();
  std::vector<std::string> values;
  record::RecordReader reader(header, payload->records);
  record::RecordFields fields;
  while (reader.Next(&fields)) values.emplace_back(fields.value.str());
  if (!reader.status().ok()) return reader.status();
  return values;
}

std::string Shortened(const std::vector<std::string>& values) {
  std::string text;
  for (const auto& value : values) text += fmt::format(" {}", value.substr(0, value.find('.')));
  return text;
}

// The batch that the log holds, against what the journal allows there.
Finding CheckBatch(const Journal& journal, const record::BatchHeader& header,
                   const std::vector<std::string>& values) {
  const auto it = journal.batches.find(header.base_offset);
  if (it == journal.batches.end())
    return {.what = fmt::format("a batch at offset {} that nobody wrote:{}", header.base_offset,
                                Shortened(values))};
  const auto& candidates = it->second;
  for (auto at = candidates.rbegin(); at != candidates.rend(); ++at) {
    if (at->values == values && at->producer_id == header.producer_id &&
        at->epoch == header.leader_epoch && at->timestamp_ms == header.base_timestamp_ms)
      return {};
    // Only the last answered one can have been acknowledged.
    if (at->answered && header.base_offset < journal.acknowledged) break;
  }
  return {.what = fmt::format("the batch at offset {} epoch {} holds:{}, written was epoch {}:{}",
                              header.base_offset, header.leader_epoch, Shortened(values),
                              candidates.back().epoch, Shortened(candidates.back().values))};
}

Finding CheckBatches(const Journal& journal, std::span<const std::byte> rest) {
  while (!rest.empty()) {
    const auto header = OrFail(record::ParseHeader(rest));
    const auto batch = rest.first(header.size_bytes());
    rest = rest.subspan(header.size_bytes());
    const auto values = ValuesOf(header, batch);
    if (!values.ok()) return {.what = values.status().ToString()};
    if (Finding f = CheckBatch(journal, header, *values); !f.ok()) return f;
  }
  return {};
}

Finding CheckFound(const StatusOr<std::optional<PartitionLog::OffsetForTime>>& found, int64_t time,
                   Offset base) {
  if (found.ok() && found->has_value() && (*found)->offset == base) return {};
  return {.what =
              fmt::format("time {} of offset {}: {}", time, base,
                          !found.ok()           ? found.status().ToString()
                          : !found->has_value() ? "not found"
                                                : fmt::format("found at {}", (*found)->offset))};
}

// Where reading can go on behind damage at `from`; -1 when the log does not say.
Offset BehindDamage(PartitionLog& log, Offset from) {
  for (const DamagedRange& d : log.damage()) {
    if (from >= d.first_offset && from < d.end_offset) return std::min(d.end_offset, log.log_end());
  }
  return -1;
}

}  // namespace

Finding CheckContents(PartitionLog& log, const Journal& journal, bool damage_allowed,
                      int64_t* unreadable) {
  Offset from = log.log_start();
  if (from < journal.start_acknowledged)
    return {.what = fmt::format("the log starts at {}, deleted was up to {}", from,
                                journal.start_acknowledged)};
  if (from > journal.start_asked)
    return {.lost = true,
            .what = fmt::format("the log starts at {}, deleted was only up to {}", from,
                                journal.start_asked)};
  if (log.log_end() < journal.acknowledged)
    return {.lost = true,
            .what = fmt::format("the log ends at {}, acknowledged was up to {}", log.log_end(),
                                journal.acknowledged)};
  while (from < log.log_end()) {
    const auto read = log.Read(from, log.log_end(), 1 << 20, TestPool());
    if (!read.ok() || read->bytes.empty()) {
      const Offset behind = damage_allowed ? BehindDamage(log, from) : -1;
      if (behind > from) {
        if (unreadable != nullptr) *unreadable += behind - from;
        from = behind;
        continue;
      }
      return {.lost = from < journal.acknowledged,
              .what = fmt::format("offset {} of [{}, {}), acknowledged up to {}: {}", from,
                                  log.log_start(), log.log_end(), journal.acknowledged,
                                  read.ok() ? "nothing is read" : read.status().ToString())};
    }
    if (Finding f = CheckBatches(journal, read->bytes); !f.ok()) return f;
    from = read->next_offset;
  }
  return {};
}

Finding CheckAnswers(PartitionLog& log, const Journal& journal) {
  for (Offset from = log.log_start(); from < log.log_end();) {
    const auto read = log.Read(from, log.log_end(), 500, TestPool());
    if (read.ok())
      if (Finding f = CheckBatches(journal, read->bytes); !f.ok()) return f;
    from = read.ok() && read->next_offset > from ? read->next_offset : from + 1;
  }
  for (const auto& [base, candidates] : journal.batches) {
    if (base < log.log_start() || base >= std::min(log.log_end(), journal.acknowledged)) continue;
    const int64_t time = candidates.back().timestamp_ms;
    const auto found = log.FindTime(time, log.log_end(), TestPool());
    if (Finding f = CheckFound(found, time, base); found.ok() && !f.ok()) return f;
  }
  const auto newest = log.FindMaxTimestamp(log.log_end() / 2, TestPool());
  if (newest.ok() && newest->has_value() && (*newest)->offset >= log.log_end() / 2)
    return {.what = fmt::format("the newest record below {} is {}", log.log_end() / 2,
                                (*newest)->offset)};
  return {};
}

Finding CheckTimes(PartitionLog& log, const Journal& journal) {
  for (const auto& [base, candidates] : journal.batches) {
    if (base < log.log_start() || base >= std::min(log.log_end(), journal.acknowledged)) continue;
    const int64_t time = candidates.back().timestamp_ms;
    const auto found = log.FindTime(time, log.log_end(), TestPool());
    if (Finding f = CheckFound(found, time, base); !f.ok()) return f;
  }
  return {};
}

// The last five batches of each producer that the log holds are recognised when they are sent
// again.
Finding CheckProducers(PartitionLog& log) {
  std::map<int64_t, std::vector<record::BatchHeader>> by_producer;
  std::map<Offset, std::vector<std::byte>> bytes_at;
  for (Offset from = log.log_start(); from < log.log_end();) {
    const auto read = log.Read(from, log.log_end(), 1 << 20, TestPool());
    if (!read.ok() || read->bytes.empty()) {
      from = BehindDamage(log, from);
      if (from < 0) return {.what = "damage without an end"};
      by_producer.clear();  // what it held, nobody knows
      continue;
    }
    for (auto rest = read->bytes; !rest.empty();) {
      const auto header = OrFail(record::ParseHeader(rest));
      const auto batch = rest.first(header.size_bytes());
      rest = rest.subspan(header.size_bytes());
      if (header.producer_id < 0) continue;
      by_producer[header.producer_id].push_back(header);
      bytes_at[header.base_offset] = {batch.begin(), batch.end()};
    }
    from = read->next_offset;
  }
  for (const auto& [id, batches] : by_producer) {
    for (size_t i = batches.size() - std::min<size_t>(batches.size(), 5); i < batches.size(); ++i) {
      const Offset base = batches[i].base_offset;
      const auto again = log.Append(bytes_at[base], {.leader_epoch = log.latest_epoch()}, true);
      if (!again.ok() || !again->duplicate || again->base_offset != base)
        return {.what = fmt::format("producer {} sends the batch at offset {} again: {}", id, base,
                                    again.ok() ? fmt::format("appended at {}", again->base_offset)
                                               : again.status().ToString())};
    }
  }
  return {};
}

Finding OpenAndCheck(OneLog& log, const Journal& journal, const CheckOptions& options) {
  if (const Status status = log.TryOpen(); !status.ok())
    return {.lost = journal.acknowledged > 0, .what = fmt::format("open: {}", status.ToString())};
  for (const DamagedRange& d : log->recovery().damage) {
    if (options.damage_allowed && d.first_offset >= journal.acknowledged) continue;
    return {.what = fmt::format("damage is reported: {} [{}, {}) {}", d.file, d.first_offset,
                                d.end_offset, d.what)};
  }
  if (!journal.may_be_clean && log.directory->was_clean())
    return {.what = "an open that was never closed is taken for clean"};
  if (log->latest_epoch() < journal.epoch_used)
    return {.what = fmt::format("leader epoch {} is known, {} was used", log->latest_epoch(),
                                journal.epoch_used)};
  if (Finding f = CheckContents(*log, journal, options.damage_allowed); !f.ok()) return f;
  if (Finding f = CheckTimes(*log, journal); !f.ok() && !options.damage_allowed) return f;
  return CheckProducers(*log);
}

LogDriver::LogDriver(FileSystem& files, const LogConfig& config, uint64_t seed, std::string path)
    : log_(files, config, std::move(path)), random_(seed) {}

bool LogDriver::Ok(const Status& status) {
  if (!status.ok()) last_error_ = status;
  return status.ok();
}

bool LogDriver::Open() {
  if (!Ok(log_.TryOpen())) return false;
  journal_.may_be_clean = false;
  // As its owner does: an unclean open begins a new leader epoch.
  journal_.epoch =
      std::max(journal_.epoch, log_->latest_epoch() + (log_->recovery().clean ? 0 : 1));
  return true;
}

bool LogDriver::Close() {
  if (log_.log == nullptr) return false;
  journal_.may_be_clean = true;
  const Offset end = log_->log_end();
  if (!Ok(log_.TryClose())) return false;
  journal_.acknowledged = std::max(journal_.acknowledged, end);
  return true;
}

bool LogDriver::Kill() {
  if (log_.log != nullptr) log_.Drop();
  return Open();
}

std::vector<std::string> LogDriver::NewValues(size_t records, size_t value_bytes) {
  std::vector<std::string> values;
  for (size_t i = 0; i < records; ++i) {
    std::string value = fmt::format("v{}.", next_value_++);
    const size_t size = value_bytes > 0 ? value_bytes : random_.Below(120);
    while (value.size() < size) value.push_back(static_cast<char>('a' + random_.Below(26)));
    values.push_back(std::move(value));
  }
  return values;
}

bool LogDriver::AppendBatch(Journal::Batch batch) {
  batch.timestamp_ms = kT0 + 10 * next_value_;
  auto bytes = batch.producer_id < 0
                   ? MakeBatch(batch.values, batch.timestamp_ms)
                   : MakeProducerBatch(batch.values, batch.producer_id, batch.producer_epoch,
                                       batch.sequence, batch.timestamp_ms);
  const Offset end = log_->log_end();
  const int32_t epoch = std::max({0, journal_.epoch, log_->latest_epoch()});
  batch.epoch = epoch;
  const auto appended = log_->Append(bytes, {.leader_epoch = epoch}, false);
  if (!Ok(appended.status())) {
    if (MayBeThere(appended.status())) journal_.batches[end].push_back(std::move(batch));
    return false;
  }
  journal_.epoch = epoch;
  journal_.epoch_used = std::max(journal_.epoch_used, epoch);
  if (appended->duplicate) return true;
  batch.answered = true;
  journal_.batches[appended->base_offset].push_back(std::move(batch));
  return true;
}

bool LogDriver::Append(size_t records, size_t value_bytes) {
  if (log_.log == nullptr) return false;
  return AppendBatch({.values = NewValues(records, value_bytes)});
}

bool LogDriver::AppendLike(const Journal::Batch& batch) {
  if (log_.log == nullptr) return false;
  return AppendBatch({.values = batch.values});
}

bool LogDriver::AppendFrom(int64_t producer_id, size_t records) {
  if (log_.log == nullptr) return false;
  int32_t& sequence = sequences_[producer_id];
  const Journal::Batch batch{.values = NewValues(records, 0),
                             .producer_id = producer_id,
                             .producer_epoch = 0,
                             .sequence = sequence};
  // As a client does: once more, with the same sequence.
  if (!AppendBatch(batch) && !AppendBatch(batch)) return false;
  sequence += static_cast<int32_t>(records);
  return true;
}

bool LogDriver::Sync() {
  if (log_.log == nullptr) return false;
  const Offset end = log_->log_end();
  if (!Ok(log_->SyncTo(end))) return false;
  journal_.acknowledged = std::max(journal_.acknowledged, end);
  return true;
}

bool LogDriver::Roll() { return log_.log != nullptr && Ok(log_->Roll()); }

bool LogDriver::DeleteBefore(Offset offset) {
  if (log_.log == nullptr) return false;
  // Under a policy that does not wait for syncs the high watermark is the end.
  offset = std::min(offset, log_->log_end());
  journal_.start_asked = std::max(journal_.start_asked, offset);
  if (!Ok(log_->DeleteRecordsBefore(offset, log_->log_end()))) return false;
  journal_.start_acknowledged = std::max(journal_.start_acknowledged, offset);
  return true;
}

bool LogDriver::Retain(absl::Duration age) {
  if (log_.log == nullptr) return false;
  LogConfig config = log_.config;
  config.retention = absl::ZeroDuration();
  log_->SetConfig(config);
  // The most that it may remove: everything that is synced.
  journal_.start_asked = std::max(journal_.start_asked, log_->synced_end());
  const bool ok =
      Ok(log_->ApplyRetention(absl::FromUnixMillis(kT0) + age, log_->synced_end()).status());
  log_->SetConfig(log_.config);
  if (ok) journal_.start_acknowledged = std::max(journal_.start_acknowledged, log_->log_start());
  return ok;
}

bool LogDriver::WriteMarks() {
  return log_.directory != nullptr && Ok(log_.directory->WriteMarks());
}

bool LogDriver::Scrub() {
  if (log_.log == nullptr) return false;
  for (int i = 0; i < 100; ++i) {
    const auto done = log_->Scrub(1 << 20, TestPool());
    if (!Ok(done.status())) return false;
    if (*done) return true;
  }
  last_error_ = absl::InternalError("the scrub does not come to an end");
  return false;
}

bool LogDriver::ReleaseIdle() {
  if (log_.log == nullptr) return false;
  log_->ReleaseIdle();
  log_->ReleaseIdle();
  return true;
}

void LogDriver::Read() {
  if (log_.log == nullptr || !wrong_.ok()) return;
  wrong_ = CheckAnswers(*log_, journal_);
}

void LogDriver::OpenBeside() {
  OneLog reader(log_.files, log_.config, log_.path);
  if (!wrong_.ok() || !Ok(reader.TryOpen(/*read_only=*/true))) return;
  wrong_ = CheckAnswers(*reader, journal_);
}

std::string LogDriver::CheckLive() {
  if (log_.log == nullptr) return "";
  return CheckContents(*log_, journal_, false).what;
}

namespace {

std::map<std::string, std::string> FilesOf(const testing::SimulatedDisk& disk) {
  std::map<std::string, std::string> files;
  for (const std::string& path : disk.AllFiles()) files[path] = OrFail(disk.Peek(path));
  return files;
}

// Opened for reading, the log shows as much, and changes nothing.
Finding OpenToReadAndCheck(testing::SimulatedDisk& disk, const LogConfig& config,
                           const Journal& journal, const CheckOptions& options) {
  const auto before = FilesOf(disk);
  {
    OneLog reader(disk, config);
    if (const Status status = reader.TryOpen(/*read_only=*/true); !status.ok()) {
      if (journal.acknowledged == 0) return {};  // it was only being made
      return {.lost = true, .what = fmt::format("open for reading: {}", status.ToString())};
    }
    if (Finding f = CheckContents(*reader, journal, options.damage_allowed); !f.ok()) return f;
  }
  // Reading from the device shows what a failed sync has really left there.
  if (options.damage_allowed || FilesOf(disk) == before) return {};
  return {.what = "opened for reading, it was changed"};
}

}  // namespace

Finding CheckDisk(std::shared_ptr<testing::SimulatedDisk> disk, const LogConfig& config,
                  Journal journal, const CheckOptions& options) {
  LogDriver next(*disk, config, options.seed);
  next.journal() = std::move(journal);
  Journal& known = next.journal();
  OneLog& log = next.log();
  next.NumberFrom(1'000'000);
  if (options.seed % 8 == 1) {
    if (Finding f = OpenToReadAndCheck(*disk, config, known, options); !f.ok()) return f;
  }
  if (Finding f = OpenAndCheck(log, known, options); !f.ok()) return f;
  // What is there now stays there, and what is not does not come back.
  known.acknowledged = std::max(known.acknowledged, log->log_end());
  known.start_acknowledged = log->log_start();
  known.start_asked = std::max(known.start_asked, known.start_acknowledged);
  known.may_be_clean = false;
  // Some clients send again what was cut off: in the same epoch, behind a batch of the same size,
  // what was cut behind the old one would pass for the next.
  std::optional<Journal::Batch> again;
  if (const auto found = known.batches.find(log->log_end());
      options.seed % 4 == 0 && found != known.batches.end())
    again = found->second.back();
  std::erase_if(known.batches, [&](const auto& b) { return b.first >= log->log_end(); });
  // Mostly in a new leader epoch, as the log's owner has it; without one an old tail has it easier.
  const bool new_epoch = !again.has_value() && options.seed / 4 % 4 != 0;
  known.epoch = log->latest_epoch() + (new_epoch ? 1 : 0);
  const bool synced = options.seed / 16 % 3 != 0;
  const bool appended = again.has_value()
                            ? next.AppendLike(*again)
                            : next.Append(2) && (!synced || next.Sync()) && next.Append(1);
  if (!appended) return {.what = fmt::format("appending on: {}", next.last_error().ToString())};
  const bool damaged = !log->recovery().damage.empty();
  log.Drop();
  disk = disk->PowerCut(options.seed, testing::CutMode::kAdversarial);
  OneLog after(*disk, config);
  if (damaged) return {};  // the second open reports it no more
  Finding f = OpenAndCheck(after, known, options);
  if (!f.ok()) f.what = fmt::format("after a second cut: {}", f.what);
  return f;
}

void Totals::Count(const Finding& finding, const std::string& where) {
  ++checked;
  if (finding.ok()) return;
  ++(finding.lost ? lost : wrong);
  if (lost + wrong <= 8) first += fmt::format("\n{}: {}", where, finding.what);
}

void Totals::Print(std::string_view harness) const {
  fmt::print("harness={} checked={} lost={} wrong={}\n", harness, checked, lost, wrong);
}

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace millrace::log
