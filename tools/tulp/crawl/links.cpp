#include "crawl/links.hpp"

#include <libxml/HTMLparser.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

namespace tool::crawl {
namespace {

struct Source {
  const char* element;
  const char* attribute;
};
constexpr std::array sources{Source{"a", "href"},   Source{"area", "href"},  Source{"link", "href"},
                             Source{"img", "src"},  Source{"script", "src"}, Source{"iframe", "src"},
                             Source{"frame", "src"}};

const char* chars(const xmlChar* text) { return reinterpret_cast<const char*>(text); }

/// Of `attributes`, a list of names and values that ends with null; null if there is none.
const char* find(const xmlChar** attributes, const char* name) {
  for (; attributes != nullptr && attributes[0] != nullptr; attributes += 2)
    if (std::strcmp(chars(attributes[0]), name) == 0) return chars(attributes[1]);
  return nullptr;
}

/// White space around a reference and line ends in it mean nothing, and other spaces stand for "%20":
/// https://url.spec.whatwg.org/#url-parsing
std::string clean(std::string_view reference) {
  constexpr std::string_view space = " \t\r\n\f";
  const std::size_t begin = std::min(reference.find_first_not_of(space), reference.size());
  std::string text;
  for (const char c : reference.substr(begin, reference.find_last_not_of(space) + 1 - begin)) {
    if (c == ' ') text += "%20";
    if (space.find(c) == std::string_view::npos) text += c;
  }
  return text;
}

}  // namespace

struct LinkFinder::State {
  std::function<void(const std::string&)> found;
  std::function<void(const std::string&)> rebased;
  htmlParserCtxtPtr parser = nullptr;

  static void on_element(void* context, const xmlChar* name, const xmlChar** attributes) {
    const State& state = *static_cast<State*>(context);
    if (std::strcmp(chars(name), "base") == 0) {
      if (const char* value = find(attributes, "href")) state.rebased(clean(value));
      return;
    }
    for (const Source& source : sources) {
      if (std::strcmp(chars(name), source.element) != 0) continue;
      if (const char* value = find(attributes, source.attribute)) state.found(clean(value));
    }
  }
};

LinkFinder::LinkFinder(std::function<void(const std::string&)> found, std::function<void(const std::string&)> rebased,
                       const std::string& charset)
    : state_(std::make_unique<State>(State{std::move(found), std::move(rebased)})) {
  htmlSAXHandler handler{};  // no tree, no messages
  handler.startElement = State::on_element;
  const xmlCharEncoding encoding = xmlParseCharEncoding(charset.c_str());
  state_->parser = htmlCreatePushParserCtxt(&handler, state_.get(), nullptr, 0, nullptr,
                                            encoding == XML_CHAR_ENCODING_ERROR ? XML_CHAR_ENCODING_NONE : encoding);
  if (state_->parser == nullptr) throw std::bad_alloc();
}

LinkFinder::~LinkFinder() { htmlFreeParserCtxt(state_->parser); }

void LinkFinder::read(std::string_view piece) {
  htmlParseChunk(state_->parser, piece.data(), static_cast<int>(piece.size()), 0);  // pieces are far below INT_MAX
}

}  // namespace tool::crawl
