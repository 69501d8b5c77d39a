// You learn: many tasks over one queue.  A polite crawler: stays on its host, a few pages at a time, each page once.
//
//   crawl URL [TASKS] [PAGES]      as: crawl http://127.0.0.1:8000/ 5 100
#include <tulp/tulp.hpp>

#include <cstdint>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

constexpr std::size_t most_bytes = 1 << 20;  // of a page

struct Site {
  std::string host;
  std::uint16_t port = 80;
};

/// One connection for each page: HTTP/1.0.
std::string fetch(const Site& site, const std::string& path, std::string& status) {
  auto [reader, writer] = tulp::open_connection(site.host, site.port);
  writer.write("GET " + path + " HTTP/1.0\r\nHost: " + site.host + "\r\nUser-Agent: tulp-crawl-example\r\n\r\n");
  status = reader.readline();
  while (reader.readline().size() > 2) continue;  // the headers
  std::string body;
  for (std::string piece; body.size() < most_bytes && !(piece = reader.read(65536)).empty();) body += piece;
  return body;
}

/// What stands in href="...", if it is a path of this site.
std::vector<std::string> links_of(const std::string& page) {
  std::vector<std::string> paths;
  const std::string before = "href=\"";
  for (auto at = page.find(before); at != std::string::npos; at = page.find(before, at)) {
    at += before.size();
    std::string path = page.substr(at, page.find_first_of("\"#", at) - at);
    if (path.starts_with('/') && !path.starts_with("//")) paths.push_back(path);
  }
  return paths;
}

class Crawler {
 public:
  Crawler(Site site, std::size_t most_pages) : site_(std::move(site)), most_pages_(most_pages) {}

  void run(const std::string& first, unsigned task_count) {
    add(first);
    tulp::with_task_group([&](tulp::TaskGroup& group) {
      for (unsigned i = 0; i < task_count; ++i) group.create_task([this] { work(); });
      todo_.join();    // until every path that was put is done
      group.cancel();  // the tasks wait for more, in vain
    });
  }
  std::size_t page_count() const { return seen_.size(); }

 private:
  void work() {
    for (;;) {
      const std::string path = todo_.get();
      visit(path);
      todo_.task_done();
    }
  }
  void visit(const std::string& path) {
    std::string status = "no reply\n";
    try {
      const std::string page = tulp::with_timeout(10s, [&] { return fetch(site_, path, status); });
      for (const std::string& link : links_of(page)) add(link);
    } catch (const std::exception& error) {
      status = std::string(error.what()) + "\n";
    }
    std::cout << path << ": " << status.substr(status.find(' ') + 1);
  }
  void add(const std::string& path) {
    if (seen_.size() < most_pages_ && seen_.insert(path).second) todo_.put_nowait(path);
  }

  const Site site_;
  const std::size_t most_pages_;
  std::set<std::string> seen_;
  tulp::Queue<std::string> todo_;
};

int main(int argc, char** argv) {
  return tulp::run_main([&] {
    const std::string url = argc > 1 ? argv[1] : "";
    if (!url.starts_with("http://"))
      throw std::invalid_argument("usage: crawl http://HOST[:PORT]/PATH [TASKS] [PAGES]");
    const std::string rest = url.substr(7);
    const std::string place = rest.substr(0, rest.find('/'));
    Site site{.host = place.substr(0, place.find(':'))};
    if (place.size() > site.host.size())
      site.port = static_cast<std::uint16_t>(std::stoi(place.substr(site.host.size() + 1)));
    Crawler crawler(site, argc > 3 ? std::stoul(argv[3]) : 100);
    crawler.run(place.size() < rest.size() ? rest.substr(place.size()) : "/",
                argc > 2 ? static_cast<unsigned>(std::stoul(argv[2])) : 5);
    std::cout << crawler.page_count() << " pages\n";
  });
}
