// Files: answers requests with what lies in a folder.
#pragma once
#include <memory>
#include <string>

#include "http/reply.hpp"
#include "serve/file.hpp"
#include "serve/folder.hpp"
#include "serve/open_files.hpp"
#include "serve/target.hpp"

namespace tool::serve {

struct FilesOptions {
  Hidden hidden = Hidden::refused;
  bool lists = true;   ///< directories without an index.html
  bool caches = true;  ///< for a moment
};

/// One for each thread that serves.
class Files {
 public:
  Files(std::shared_ptr<const Folder> folder, const FilesOptions& options)
      : folder_(std::move(folder)), options_(options) {}

  void answer(const http::RequestHead& request, http::Reply& reply);

 private:
  void answer_directory(const http::RequestHead& request, http::Reply& reply, const Target& target,
                        const Opened& opened);
  void send_opened(const http::RequestHead& request, http::Reply& reply, const std::string& path, Opened opened,
                   std::string_view name);
  std::shared_ptr<const File> find_kept(const std::string& path) const;
  void keep(const std::string& path, const std::shared_ptr<const File>& file);

  const std::shared_ptr<const Folder> folder_;
  const FilesOptions options_;
  FileCache cache_;
  OpenFiles open_files_;
};

}  // namespace tool::serve
