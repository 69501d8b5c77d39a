// UniqueFunction: a callable that may hold what can only be moved.  Floor 1, base.
#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace tulp::detail {

template <class Signature>
class UniqueFunction;

/// std::function without the demand that its target can be copied (C++23's std::move_only_function, which g++ 12 has
/// not).  A target of up to six words that moves without throwing is kept inside; a larger one costs an allocation.
template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  UniqueFunction(std::nullptr_t) {}

  template <class F>
  requires(!std::is_same_v<std::decay_t<F>, UniqueFunction> && std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
      UniqueFunction(F&& target) {
    using Target = std::decay_t<F>;
    if constexpr (fits<Target>) {
      ::new (static_cast<void*>(storage_)) Target(std::forward<F>(target));
      operations_ = &inside<Target>;
    } else {
      ::new (static_cast<void*>(storage_)) Target*(new Target(std::forward<F>(target)));
      operations_ = &outside<Target>;
    }
  }
  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~UniqueFunction() { reset(); }

  explicit operator bool() const noexcept { return operations_ != nullptr; }
  R operator()(Args... args) { return operations_->call(storage_, std::forward<Args>(args)...); }

 private:
  struct Operations {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to) noexcept;
    void (*destroy)(void*) noexcept;
  };
  static constexpr std::size_t capacity = 6 * sizeof(void*);
  template <class T>
  static constexpr bool fits = sizeof(T) <= capacity &&
                               alignof(T) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<T>;
  template <class T>
  static R call(T& target, Args&&... args) {
    if constexpr (std::is_void_v<R>)
      target(std::forward<Args>(args)...);
    else
      return target(std::forward<Args>(args)...);
  }
  template <class T>
  static constexpr Operations inside = {
      [](void* at, Args&&... args) -> R { return call(*static_cast<T*>(at), std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept {
        ::new (to) T(std::move(*static_cast<T*>(from)));
        static_cast<T*>(from)->~T();
      },
      [](void* at) noexcept { static_cast<T*>(at)->~T(); }};
  template <class T>
  static constexpr Operations outside = {
      [](void* at, Args&&... args) -> R { return call(**static_cast<T**>(at), std::forward<Args>(args)...); },
      [](void* from, void* to) noexcept { ::new (to) T*(*static_cast<T**>(from)); },
      [](void* at) noexcept { delete *static_cast<T**>(at); }};

  void take(UniqueFunction& other) noexcept {
    if (other.operations_ == nullptr) return;
    other.operations_->move(other.storage_, storage_);
    operations_ = std::exchange(other.operations_, nullptr);
  }
  void reset() noexcept {
    if (operations_ != nullptr) std::exchange(operations_, nullptr)->destroy(storage_);
  }

  alignas(std::max_align_t) std::byte storage_[capacity];
  const Operations* operations_ = nullptr;
};

}  // namespace tulp::detail
