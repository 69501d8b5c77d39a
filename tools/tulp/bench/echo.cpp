// An echo server's connection: whatever it sends has to come back, byte for byte.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "bench/client.hpp"

namespace tool::bench {
namespace {

constexpr std::size_t most_pieces = 64;

class EchoClient final : public StreamClient {
 public:
  using StreamClient::StreamClient;

 private:
  std::string_view message(std::uint64_t index) const { return worker_.pattern().message(number_, index); }

  void reset() override {
    written_count_ = 0;
    read_bytes_ = 0;
  }

  void write_requests(std::size_t count) override {
    std::array<std::string_view, most_pieces> pieces;
    while (count > 0) {
      const std::size_t size = std::min(count, most_pieces);
      for (std::size_t i = 0; i < size; ++i) pieces[i] = message(written_count_++);
      transport().writelines({pieces.data(), size});
      count -= size;
    }
  }

  void read_answers(std::string_view data, tulp::TimePoint now) override {
    while (!data.empty()) {
      if (!is_waiting()) throw Wrong("more came back than was sent");
      const std::string_view expected = message(answered_count()).substr(read_bytes_, data.size());
      if (!data.starts_with(expected)) throw Wrong("other bytes came back");
      data.remove_prefix(expected.size());
      read_bytes_ += expected.size();
      if (read_bytes_ < worker_.plan().size_bytes) return;
      read_bytes_ = 0;
      note_answer(now, worker_.plan().size_bytes);
    }
  }

  std::uint64_t written_count_ = 0;
  std::size_t read_bytes_ = 0;  // of the message that comes back
};

}  // namespace

std::shared_ptr<Client> make_echo_client(Worker& worker, std::size_t number) {
  return std::make_shared<EchoClient>(worker, number);
}

}  // namespace tool::bench
