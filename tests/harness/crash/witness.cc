#include "harness/crash/witness.h"

#include <fstream>
#include <iostream>

#include "harness/crash/verification.h"

namespace millrace::harness {

using check::Op;
using check::OpKind;
using check::OpType;

Witness::Witness(bool use_checker) {
  if (use_checker) checker_.emplace(names_);
}

void Witness::BeginRun(ExpectedState::Durability durability, SteadyClock::duration loss_window) {
  state_.BeginRun(durability, loss_window);
  ready_ = cut_ = false;
}

void Witness::Wrong(std::string_view what) {
  ++wrong_;
  if (problems_.size() < 20) problems_.emplace_back(what);
}

void Witness::PowerWasCut() {
  state_.PowerWasCut();
  cut_ = true;
}

void Witness::Add(std::string_view line) {
  Op op;
  std::string error;
  if (!check::ParseOp(line, names_, &op, &error)) {
    return Wrong(fmt::format("the child wrote '{}': {}", line, error));
  }
  if (cut_) {
    if (op.type != OpType::kInvoke) return;
    // The completion of the operation before was among the lines that do not count.
    const auto found = pending_.find(op.process);
    if (found != pending_.end()) EndPending(std::move(found->second));
  }
  if (op.kind == OpKind::kNote) {
    if (op.note.starts_with("WRONG")) Wrong(op.note);
    if (op.note == "ready") ready_ = true;
  }
  Track(op);
  AddOp(op);
}

void Witness::Track(const Op& op) {
  if (op.type == OpType::kInvoke) {
    pending_[op.process] = op;
  } else if (op.type != OpType::kAck) {
    pending_.erase(op.process);
  } else if (const auto found = pending_.find(op.process); found != pending_.end()) {
    for (check::Item& item : found->second.items) {
      if (item.value == op.items.front().value) item.offset = op.items.front().offset;
    }
  }
}

void Witness::AddOp(const Op& op) {
  check::AppendJson(op, names_, &history_);
  state_.Add(op);
  // Automatic commits are written later than they are visible, which is no register.
  if (op.kind == OpKind::kCommitted && op.group == kAutomatic) return;
  if (checker_ && checker_->error().empty() && !checker_->Add(op)) Wrong(checker_->error());
}

void Witness::EndPending(Op op) {
  op.type = OpType::kInfo;
  op.crashed = true;
  AddOp(op);
}

void Witness::RunIsOver() {
  for (auto& [process, op] : std::exchange(pending_, {})) EndPending(std::move(op));
}

void Witness::Finish() {
  if (!checker_) return;
  checker_->Finish();
  wrong_ += checker_->report().total();
}

void Witness::Report(const std::string& directory) const {
  for (const std::string& problem : state_.problems()) std::cout << "  " << problem << "\n";
  for (const std::string& problem : problems_) std::cout << "  " << problem << "\n";
  if (checker_) checker_->report().Print(std::cout);
  const std::string path = directory + ".history.jsonl";
  std::ofstream(path) << history_;
  std::cout << "  kept: " << directory << " and " << path << std::endl;
}

}  // namespace millrace::harness
