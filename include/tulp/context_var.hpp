// ContextVar: a value that belongs to a task, and to what it creates.  Floor 5, tasks.
#pragma once
#include <tulp/detail/context.hpp>
#include <tulp/error.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace tulp {

namespace detail {
std::uint64_t make_context_key() noexcept;
std::shared_ptr<const void> find_in_context(std::uint64_t key) noexcept;
/// What was there before, or null.
std::shared_ptr<const void> set_in_context(std::uint64_t key, std::shared_ptr<const void> value);
}  // namespace detail

/// A variable of which each task has a value of its own, such as the number of the request that it works for.  A task
/// begins with the values that its creator had at that moment; a callback sees those of whoever scheduled it, or added it,
/// and a function in to_thread() those of who called that.  What one of them sets the others do not see.
///
/// Usually a global; it need not outlive what uses its values.
/// Thread: any; each has values of its own outside tasks.  Source: Python's contextvars (PEP 567).
template <class T>
class ContextVar {
 public:
  /// What reset() needs to bring back the former value.
  class Token {
   public:
    Token(Token&&) noexcept = default;
    Token& operator=(Token&&) noexcept = default;

   private:
    friend class ContextVar;
    Token(std::uint64_t key, std::shared_ptr<const void> former) noexcept : key_(key), former_(std::move(former)) {}
    std::uint64_t key_;
    std::optional<std::shared_ptr<const void>> former_;  // none: was used
  };

  explicit ContextVar(std::string name) : name_(std::move(name)) {}
  ContextVar(std::string name, T default_value) : name_(std::move(name)), default_(std::move(default_value)) {}
  ContextVar(const ContextVar&) = delete;
  ContextVar& operator=(const ContextVar&) = delete;

  const std::string& name() const noexcept { return name_; }
  /// The value, or else the default.  Throws: InvalidStateError - there is neither.
  T get() const {
    if (const auto value = find()) return *value;
    if (default_) return *default_;
    throw InvalidStateError("the context variable '" + name_ + "' has no value");
  }
  /// The value, or else `otherwise`.
  T get(T otherwise) const {
    const auto value = find();
    return value ? *value : std::move(otherwise);
  }
  Token set(T value) { return Token(key_, detail::set_in_context(key_, std::make_shared<const T>(std::move(value)))); }
  /// Brings back what there was before the set() that gave `token`, in the same task or callback.
  /// Throws: InvalidStateError - the token was used before; std::invalid_argument - it is another variable's.
  void reset(Token& token) {
    if (token.key_ != key_) throw std::invalid_argument("ContextVar::reset: the token is of another variable");
    if (!token.former_) throw InvalidStateError("ContextVar::reset: the token was used before");
    detail::set_in_context(key_, *std::exchange(token.former_, std::nullopt));
  }

 private:
  std::shared_ptr<const T> find() const noexcept {
    return std::static_pointer_cast<const T>(detail::find_in_context(key_));
  }

  std::uint64_t key_ = detail::make_context_key();
  std::string name_;
  std::optional<T> default_;
};

}  // namespace tulp
