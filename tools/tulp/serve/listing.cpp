#include "serve/listing.hpp"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "terminal.hpp"

namespace tool::serve {
namespace {

constexpr std::size_t most_entries = 10'000;

struct Entry {
  std::string name = {};
  bool is_directory = false;
  std::uint64_t size_bytes = 0;
  std::time_t modified_s = 0;
};

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

/// What is no file or directory, or leads elsewhere, cannot be asked for either.
bool look_at(const Folder& folder, const std::string& path, int directory, Entry& entry) {
  struct stat status {};
  if (::fstatat(directory, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if (S_ISLNK(status.st_mode)) {
    const Opened target = folder.open(path + entry.name);
    if (target.error != 0) return false;
    status = target.status;
  }
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return false;
  entry.is_directory = S_ISDIR(status.st_mode);
  entry.size_bytes = static_cast<std::uint64_t>(status.st_size);
  entry.modified_s = status.st_mtime;
  return true;
}

/// Whether that was all.
bool read_entries(const Folder& folder, const std::string& path, int directory, Hidden hidden,
                  std::vector<Entry>& entries) {
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(::fcntl(directory, F_DUPFD_CLOEXEC, 3)));
  if (!stream) return true;
  while (const dirent* found = ::readdir(stream.get())) {
    Entry entry{.name = found->d_name};
    if (entry.name == "." || entry.name == "..") continue;
    if (hidden == Hidden::refused && is_hidden(entry.name)) continue;
    if (!look_at(folder, path, directory, entry)) continue;
    if (entries.size() == most_entries) return false;
    entries.push_back(std::move(entry));
  }
  return true;
}

bool is_before(const Entry& a, const Entry& b) {
  if (a.is_directory != b.is_directory) return a.is_directory;
  return a.name < b.name;
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string in_date(std::time_t time) {
  std::tm parts{};
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", ::gmtime_r(&time, &parts))};
}

std::string row(const Entry& entry) {
  const std::string slash = entry.is_directory ? "/" : "";
  return "<tr><td><a href=\"" + encode_path(entry.name) + slash + "\">" + escape_html(printable(entry.name)) + slash +
         "</a></td><td>" + (entry.is_directory ? std::string() : in_bytes(entry.size_bytes)) + "</td><td>" +
         in_date(entry.modified_s) + "</td></tr>\n";
}

constexpr const char* style =
    "body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.3em;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "td{padding:.15em 0;border-bottom:1px solid #eee;overflow-wrap:anywhere}"
    "td:first-child{width:100%}td+td{text-align:right;white-space:nowrap;padding-left:2em;color:#666;font-variant-"
    "numeric:tabular-nums}"
    "a{color:#0645ad;text-decoration:none}a:hover{text-decoration:underline}";

}  // namespace

std::string list(const Folder& folder, const std::string& path, const Opened& opened, Hidden hidden) {
  std::vector<Entry> entries;
  const bool is_complete = read_entries(folder, path, opened.descriptor.get(), hidden, entries);
  std::sort(entries.begin(), entries.end(), is_before);

  const std::string title = "/" + escape_html(printable(path));
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title +
                     "</title>\n<meta name=\"viewport\" content=\"width=device-width\"><style>" + style +
                     "</style></head>\n<body><h1>" + title + "</h1>\n<table>\n";
  if (!path.empty()) page += "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n";
  for (const Entry& entry : entries) page += row(entry);
  page += "</table>\n";
  if (entries.empty()) page += "<p>Nothing is here.</p>\n";
  if (!is_complete) page += "<p>There are more: only " + std::to_string(most_entries) + " are listed.</p>\n";
  return page + "</body></html>\n";
}

}  // namespace tool::serve
