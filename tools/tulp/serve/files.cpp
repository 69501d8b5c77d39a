#include "serve/files.hpp"

#include <tulp/event_loop.hpp>

#include <cerrno>
#include <cstring>
#include <optional>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/conditions.hpp"
#include "serve/listing.hpp"
#include "serve/ranges.hpp"

namespace tool::serve {
namespace {

constexpr std::string_view index_name = "index.html";

void refuse_error(http::Reply& reply, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG: return send_status(reply, 404);
    case EACCES:
    case EPERM: return send_status(reply, 403);
    case ELOOP:
    case EXDEV: return send_status(reply, 403, "a symbolic link that leads out of the folder");
    case EMFILE:
    case ENFILE:
    case ENOMEM: return send_status(reply, 503, std::strerror(error));
    default: return send_status(reply, 500, std::strerror(error));
  }
}

void send_part(http::Reply& reply, const File& file, const Range& range) {
  if (file.is_small())
    reply.write(std::string_view(file.body).substr(range.begin, range.size));
  else
    reply.send_file(file.descriptor.get(), range.begin, range.size);
}

std::string type_field(std::string_view type) { return "Content-Type: " + std::string(type) + "\r\n"; }

void send_whole(http::Reply& reply, const File& file) {
  reply.begin_with(file.fields, 200, file.size_bytes);
  send_part(reply, file, {0, file.size_bytes});
}

void send_range(http::Reply& reply, const File& file, const Range& range) {
  reply.begin_with(file.fields + "Content-Range: " + range.in_words(file.size_bytes) + "\r\n", 206, range.size);
  send_part(reply, file, range);
}

/// What stands between the parts must not be in them.
std::string make_boundary() {
  thread_local std::mt19937_64 random(std::random_device{}());
  return "tulp-" + std::to_string(random()) + std::to_string(random());
}

/// RFC 9110 section 14.6.
void send_ranges(http::Reply& reply, const File& file, const Ranges& ranges) {
  const std::string boundary = make_boundary();
  const std::string end = "\r\n--" + boundary + "--\r\n";
  std::vector<std::string> heads;
  std::uint64_t length = end.size();
  for (const Range& range : ranges) {
    heads.push_back("\r\n--" + boundary + "\r\n" + type_field(file.type) +
                    "Content-Range: " + range.in_words(file.size_bytes) + "\r\n\r\n");
    length += heads.back().size() + range.size;
  }
  reply.begin_with(type_field("multipart/byteranges; boundary=" + boundary) + std::string(file.version_fields()), 206,
                   length);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    reply.write(heads[i]);
    const std::uint64_t before = reply.body_bytes();
    send_part(reply, file, ranges[i]);
    if (reply.body_bytes() - before < ranges[i].size && !reply.is_head_request()) return;  // it has become shorter
  }
  reply.write(end);
}

void send_file(const http::RequestHead& request, http::Reply& reply, const File& file) {
  switch (judge(request, file.validators)) {
    case Verdict::failed: return send_status(reply, 412);
    case Verdict::not_modified: return reply.begin_with(file.version_fields(), 304, 0);
    case Verdict::send: break;
  }
  const auto field = find(request.fields, "Range");
  if (!field || request.method != "GET" || !may_send_range(request, file.validators)) return send_whole(reply, file);
  const auto ranges = parse_ranges(*field, file.size_bytes);
  if (!ranges) return send_whole(reply, file);
  if (ranges->empty()) {
    const std::string whole = "bytes */" + std::to_string(file.size_bytes);
    return send_status(reply, 416, "there are " + std::to_string(file.size_bytes) + " bytes",
                       {{"Content-Range", whole}});
  }
  return ranges->size() == 1 ? send_range(reply, file, ranges->front()) : send_ranges(reply, file, *ranges);
}

}  // namespace

void Files::answer(const http::RequestHead& request, http::Reply& reply) {
  const Target target = parse_target(request.target, options_.hidden);
  if (target.status != 0) return send_status(reply, target.status, target.why);
  if (options_.caches) {
    if (const auto file = find_kept(target.path)) return send_file(request, reply, *file);
  }
  Opened opened = folder_->open(target.path);
  if (opened.error != 0) return refuse_error(reply, opened.error);
  if (opened.is_directory()) return answer_directory(request, reply, target, opened);
  if (target.is_directory()) return send_status(reply, 404);  // only a directory has a '/' behind it
  send_opened(request, reply, target.path, std::move(opened), target.path);
}

void Files::answer_directory(const http::RequestHead& request, http::Reply& reply, const Target& target,
                             const Opened& opened) {
  if (!target.is_directory())
    return send_status(reply, 301, {},
                       {{"Location", "/" + encode_path(target.path) + "/" + std::string(target.query)}});
  Opened index = folder_->open(target.path + std::string(index_name));
  if (index.is_file()) return send_opened(request, reply, target.path, std::move(index), index_name);
  if (index.error != ENOENT && index.error != 0) return refuse_error(reply, index.error);
  if (!options_.lists) return send_status(reply, 403, "this directory is not listed");
  reply.send(200, list(*folder_, target.path, opened, options_.hidden), {{"Content-Type", "text/html; charset=utf-8"}});
}

void Files::send_opened(const http::RequestHead& request, http::Reply& reply, const std::string& path, Opened opened,
                        std::string_view name) {
  const auto file = read_file(std::move(opened), name);
  if (file == nullptr) return refuse_error(reply, errno);
  if (options_.caches) keep(path, file);
  send_file(request, reply, *file);
}

std::shared_ptr<const File> Files::find_kept(const std::string& path) const {
  const tulp::TimePoint now = tulp::get_event_loop().time();
  auto file = cache_.find(path, now);
  return file != nullptr ? file : open_files_.find(path, now);
}

void Files::keep(const std::string& path, const std::shared_ptr<const File>& file) {
  const tulp::TimePoint now = tulp::get_event_loop().time();
  file->is_small() ? cache_.keep(path, file, now) : open_files_.keep(path, file, now);
}

}  // namespace tool::serve
