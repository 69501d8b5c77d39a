#include "serve/open_files.hpp"

#include <tulp/event_loop.hpp>

#include <algorithm>
#include <utility>

namespace tool::serve {

std::shared_ptr<const File> OpenFiles::find(std::string_view path, tulp::TimePoint now) const {
  for (const Entry& entry : entries_) {
    if (entry.path == path && now - entry.kept_at < FileCache::moment && entry.file->is_unchanged()) return entry.file;
  }
  return nullptr;
}

void OpenFiles::keep(const std::string& path, std::shared_ptr<const File> file, tulp::TimePoint now) {
  const auto has_its_path = [&](const Entry& entry) { return entry.path == path; };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), has_its_path), entries_.end());
  if (entries_.size() == most_files) return;
  entries_.push_back({path, std::move(file), now});
  if (entries_.size() == 1) close_later();
}

void OpenFiles::close_later() {
  closing_.cancel();
  closing_ =
      tulp::get_event_loop().call_at(tulp::after(entries_.front().kept_at, FileCache::moment), [this] { close_old(); });
}

void OpenFiles::close_old() {
  const tulp::TimePoint now = tulp::get_event_loop().time();
  const auto is_young = [&](const Entry& entry) { return now - entry.kept_at < FileCache::moment; };
  entries_.erase(entries_.begin(), std::find_if(entries_.begin(), entries_.end(), is_young));
  if (!entries_.empty()) close_later();
}

}  // namespace tool::serve
