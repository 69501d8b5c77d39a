#include "transports/pieces.hpp"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using tulp::detail::Pieces;

namespace {

std::string text_of(const Pieces& pieces) {
  std::array<iovec, 16> views;
  std::string text;
  for (std::size_t i = 0, count = pieces.put_into(views); i < count; ++i) {
    CHECK(views[i].iov_len > 0);
    text.append(static_cast<const char*>(views[i].iov_base), views[i].iov_len);
  }
  return text;
}

const std::vector<std::string_view> some{"", "a", "", "", "bcd", "ef", "", "g", ""};

}  // namespace

TEST_CASE("pieces are what is left of them, wherever they were cut") {
  const std::string whole = "abcdefg";
  for (std::size_t first = 0; first <= whole.size(); ++first) {
    for (std::size_t second = 0; first + second <= whole.size(); ++second) {
      Pieces pieces(some);
      pieces.consume(first);
      pieces.consume(second);
      CHECK(text_of(pieces) == whole.substr(first + second));
      CHECK(pieces.empty() == (first + second == whole.size()));
      std::string one_by_one;
      for (; !pieces.empty(); pieces.consume_front()) one_by_one += pieces.front();
      CHECK(one_by_one == whole.substr(first + second));
    }
  }
}

TEST_CASE("pieces of which each is empty are none") {
  const std::vector<std::string_view> empty{"", "", ""};
  CHECK(Pieces(empty).empty());
  CHECK(Pieces(std::span<const std::string_view>()).empty());
}

TEST_CASE("as many pieces are put into views as there is room for, the first ones first") {
  std::array<iovec, 2> views;
  Pieces pieces(some);
  pieces.consume(2);
  CHECK(pieces.put_into(views) == 2);
  CHECK(std::string_view(static_cast<const char*>(views[0].iov_base), views[0].iov_len) == "cd");
  CHECK(views[1].iov_base == some[5].data());
  CHECK(pieces.put_into(std::span(views).first(0)) == 0);
}
