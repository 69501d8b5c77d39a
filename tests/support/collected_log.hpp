// CollectedLog: what goes to the log while it lives.
#pragma once
#include <tulp/log.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tulp::test {

/// The sink is the process's.
class CollectedLog {
 public:
  CollectedLog() {
    set_log_sink([this](std::string_view report) { reports.emplace_back(report); });
  }
  CollectedLog(const CollectedLog&) = delete;
  CollectedLog& operator=(const CollectedLog&) = delete;
  ~CollectedLog() { set_log_sink(nullptr); }

  std::string text() const {
    std::string all;
    for (const std::string& report : reports) all += report;
    return all;
  }

  std::vector<std::string> reports;
};

}  // namespace tulp::test
