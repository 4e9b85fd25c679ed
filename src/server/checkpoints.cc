#include "server/checkpoints.h"

#include <charconv>

namespace quoll::server {
namespace {

constexpr base::Bytes kPrefix = "checkpoint-";
constexpr base::Bytes kSuffix = ".rdb";

bool take_number(base::Bytes& text, uint64_t& number) {
  auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || end == text.data()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(base::Bytes& text, base::Bytes what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

}  // namespace

std::string Checkpoint::file_name() const {
  return std::string(kPrefix) + std::to_string(at.epoch) + "-" + std::to_string(at.index) + "-" +
         std::to_string(commit) + std::string(kSuffix);
}

std::optional<Checkpoint> Checkpoint::parse(base::Bytes name) {
  Checkpoint found;
  const bool whole = take(name, kPrefix) && take_number(name, found.at.epoch) && take(name, "-") &&
                     take_number(name, found.at.index) && take(name, "-") &&
                     take_number(name, found.commit) && name == kSuffix;
  if (!whole) return {};
  return found;
}

void Checkpoints::find(OnFound done) {
  disk_.list(dir_, [this, done](base::Result<std::vector<std::string>> names) {
    if (!names) return done(base::Error{names.error()});
    for (const std::string& name : names.value()) {
      auto found = Checkpoint::parse(name);
      if (found && (!newest_ || found->at > newest_->at)) newest_ = found;
    }
    for (const std::string& name : names.value()) {
      const bool left_over = name.starts_with("written.rdb") || name.starts_with("received.rdb") ||
                             (Checkpoint::parse(name) && name != newest_->file_name());
      if (left_over) disk_.remove(dir_ + "/" + name, [](base::Result<>) {});
    }
    done(newest_);
  });
}

void Checkpoints::publish(const std::string& file, const Checkpoint& checkpoint,
                          host::OnDone done) {
  const std::string name = checkpoint.file_name();
  disk_.rename(file, dir_ + "/" + name, [this, checkpoint, done](base::Result<> renamed) {
    if (!renamed) return done(std::move(renamed));
    disk_.sync_dir(dir_, [this, checkpoint, done](base::Result<> synced) {
      if (!synced) return withdraw(checkpoint, done, synced.error());
      const auto before = std::exchange(newest_, checkpoint);
      if (before && before->file_name() != checkpoint.file_name())
        disk_.remove(dir_ + "/" + before->file_name(), [](base::Result<>) {});
      done({});
    });
  });
}

// Its name may be on disk all the same, where the next start would find it.
void Checkpoints::withdraw(const Checkpoint& checkpoint, host::OnDone done,
                           const std::string& why) {
  if (newest_ && newest_->file_name() == checkpoint.file_name()) return done(base::Error{why});
  disk_.remove(dir_ + "/" + checkpoint.file_name(), [this, done, why](base::Result<>) {
    disk_.sync_dir(dir_, [done, why](base::Result<>) { done(base::Error{why}); });
  });
}

void Checkpoints::forget() {
  if (!newest_) return;
  disk_.remove(path(), [](base::Result<>) {});
  newest_.reset();
}

}  // namespace quoll::server
