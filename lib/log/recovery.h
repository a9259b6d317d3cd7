#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log/partition_impl.h"

namespace millrace::log {

// Opens a partition whose last close was not clean: finds out what is there, reading from the
// device what lies above the last checkpoint; keeps whatever may have been acknowledged; and leaves
// a log that can be appended to. May itself be stopped at any point: the next one ends the same.
//
// Where the scan meets something that is no batch of the log, evidence decides (design.md 4):
//   below the floor (the durable mark, the end of the last closed segment): corruption. It is kept
//   and
//       reported, the rest is served, and appends go on in a new segment.
//   above it, after a power cut: a torn tail. It is set aside in a .cut file and cut.
//   above it, when only the process died: the page cache has survived, so only a batch that the
//   file ends
//       within is torn; anything else is corruption.
// Belongs to one thread, which holds the log alone.
class Recovery {
 public:
  static constexpr uint64_t kMaxSideFileBytes = uint64_t{256} << 20;
  // Of a torn tail this much is copied before it is cut.
  static constexpr uint64_t kMaxCutBytes = uint64_t{16} << 20;

  explicit Recovery(PartitionLog::Impl& log);
  Status Run();

 private:
  using Outcome = SegmentScanner::Outcome;
  // A segment file that is there.
  struct Found {
    std::shared_ptr<Segment> segment;
    uint64_t file_bytes = 0;
    std::optional<SegmentRecord> record = {};  // closed, and synced as a whole
  };

  // ---- what is there (recovery.cc)
  Status ListFiles();
  void HandleLeftOver(const std::string& file);
  Status FindSegments(const std::vector<Offset>& bases);
  void ChooseStart();
  Status AdoptClosed();
  Status ScanUnrecorded(Found& found, Offset next_base);
  Offset NextBase(size_t index) const;

  // ---- what it holds (recovery_scan.cc)
  Status ScanOpenSegments();
  StatusOr<bool> ScanSegment(size_t index);  // false: nothing behind it counts
  StatusOr<bool> LeaveSegment(size_t index);
  Status RestoreIndexes(Segment& segment, File& file);
  bool IsTorn(Outcome outcome, size_t index) const;
  void CheckSum(const Segment& segment, uint64_t position);
  Status CheckAppendable(const record::BatchHeader& header) const;
  StatusOr<Resumption> ReportDamage(size_t index, File& file, const Resumption& at,
                                    const std::string& what);
  StatusOr<Resumption> BehindMark(const Found& found, File& file, const Resumption& damage,
                                  const Resumption& otherwise);
  void AddGap(Offset to, std::string what);
  Status CutSegment(size_t index, File& file, uint64_t position, const std::string& why);
  Status SetAsideFrom(size_t index);
  Status CopyTail(const Found& found, File& file, uint64_t position);
  void CloseScanned(Segment& segment);
  Status ChooseActive();

  // ---- what belongs to it (recovery_state.cc)
  Status LoadEpochs();
  bool FileIsKnown(const EpochCache& epochs, std::string_view text) const;
  Status RebuildEpochs(std::optional<EpochCache> in_file);
  Status LoadProducers();
  Status ReplayProducers(Offset from, Offset to);
  StatusOr<ProducerState> ReadSnapshot(Offset offset);
  void KeepEpochNumbers();
  Status HandOver();

  void Note(std::string text) { log_.report.notes.push_back(std::move(text)); }

  PartitionLog::Impl& log_;
  int32_t interval_bytes_ = 0;
  std::optional<Mark> mark_;
  std::vector<SegmentRecord> records_;
  std::vector<Found> found_;  // by base
  std::vector<Offset> snapshots_;
  Offset log_start_ = 0;
  Offset floor_ = 0;  // below it damage is corruption
  bool same_boot_ = false;

  Offset start_base_ = 0;  // of the segment in which the scan starts
  Checkpoint start_;

  EpochCache epochs_;
  std::string epochs_in_file_;
  int32_t latest_in_file_ = -1;  // of a file that was not believed
  ProducerState producers_;
  std::vector<DamagedRange> damage_;

  // Where the scan is: the log goes on from here.
  Offset expected_ = 0;
  uint64_t size_ = 0;
  uint32_t sum_ = 0;
  std::optional<IndexBuilder> builder_;
  bool segment_damaged_ = false;
  std::vector<std::shared_ptr<const PartitionLog::Impl::Closing>> closing_;
};

}  // namespace millrace::log
