#include "log/log_model.h"

namespace millrace::log {
namespace {

// Segments of about seven batches, so that every workload crosses borders.
LogConfig Small() {
  return {.segment_bytes = 1500, .index_interval_bytes = 200, .retention = std::nullopt};
}

void AppendAndSync(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 25; ++i) {
    d.Append(1 + d.random().Below(3));
    if (d.random().OneIn(2)) d.Sync();
    if (d.random().OneIn(4)) d.WriteMarks();
  }
  d.Sync();
}

// Several batches a sync, and several segments a sync.
void GroupCommit(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 6; ++j) d.Append(1, 200);
    d.Sync();
  }
}

void NeverSynced(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 60; ++i) d.Append(1, 250);
}

void OneLargeSegment(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 30; ++i) {
    d.Append(2);
    if (i % 5 == 4) d.Sync();
    if (i % 10 == 9) d.WriteMarks();
  }
}

void Producers(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 24; ++i) {
    d.AppendFrom(1 + static_cast<int64_t>(d.random().Below(3)), 1 + d.random().Below(2));
    if (d.random().OneIn(3)) d.Sync();
    if (d.random().OneIn(8)) d.Kill();
  }
  d.Sync();
}

void CloseAndOpen(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 4; ++j) d.AppendFrom(5);
    if (i % 2 == 0) d.Sync();
    if (!d.Close() || !d.Open()) return;
  }
  d.Append();
  d.Sync();
}

void Restarts(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 4; ++j) d.Append(1, 150);
    if (i % 2 == 0) d.Sync();
    if (i % 3 == 1) d.WriteMarks();
    if (!d.Kill()) return;
  }
  d.Append();
  d.Sync();
}

void DeleteRecords(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) d.Append(1, 180);
    d.Sync();
    d.DeleteBefore(static_cast<Offset>(i * 5 + 1));
    if (i == 3 && !d.Kill()) return;
  }
  d.Append();
  d.Sync();
}

void DeleteUnsynced(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 7; ++j) d.Append(1, 180);
    d.DeleteBefore(static_cast<Offset>(i * 7 + 4));
    if (i == 2 && !d.Kill()) return;
  }
  d.Append();
  d.Sync();
}

void Retention(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 8; ++j) d.Append(1, 200);
    d.Sync();
    d.Retain(absl::Hours(1));
    d.Append();
  }
  d.Sync();
}

void Upkeep(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) d.AppendFrom(3, 2);
    d.Sync();
    d.Roll();
    d.Scrub();
    d.WriteMarks();
    d.ReleaseIdle();
  }
}

// A large segment, in which the scan of a recovery starts at one of many checkpoints.
void Checkpoints(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 5; ++j) d.AppendFrom(1 + j % 3);
    if (i % 3 != 1) d.Sync();
    if (i == 2) d.Roll();
    if (i % 2 == 1 && !(i == 3 ? d.Close() && d.Open() : d.Kill())) return;
  }
  d.Append();
  d.Sync();
}

void Readers(LogDriver& d) {
  if (!d.Open()) return;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 10; ++j) d.Append(2, 90);
    d.Sync();
    d.ReleaseIdle();
    d.Read();
    if (i == 1 && !d.Kill()) return;
    d.OpenBeside();
  }
}

LogConfig Large() {
  LogConfig config = Small();
  config.segment_bytes = 1 << 20;
  return config;
}

LogConfig WithCheckpoints() {
  LogConfig config = Large();
  config.checkpoint_bytes = 500;
  return config;
}

}  // namespace

const std::vector<Workload>& AllWorkloads() {
  static const std::vector<Workload> all = {
      {"append-and-sync", Small(), AppendAndSync},
      {"group-commit", Small(), GroupCommit},
      {"never-synced", Small(), NeverSynced},
      {"one-large-segment", Large(), OneLargeSegment},
      {"producers", Small(), Producers},
      {"close-and-open", Small(), CloseAndOpen},
      {"restarts", Small(), Restarts},
      {"delete-records", Small(), DeleteRecords},
      {"delete-unsynced", Small(), DeleteUnsynced},
      {"retention", Small(), Retention},
      {"upkeep", Small(), Upkeep},
      {"checkpoints", WithCheckpoints(), Checkpoints},
      {"readers", Small(), Readers},
  };
  return all;
}

}  // namespace millrace::log
