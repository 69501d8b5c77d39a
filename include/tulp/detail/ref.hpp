// Ref: a handle that counts.  Floor 1, base.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define TULP_SINGLE_THREADED (__libc_single_threaded != 0)
#else
#define TULP_SINGLE_THREADED false
#endif

namespace tulp::detail {

/// How many references there are to something; may be changed on any thread.  While the process has one thread it is kept
/// without atomic instructions, as libstdc++ does for shared_ptr.
class RefCount {
 public:
  explicit constexpr RefCount(std::uint32_t count) noexcept : count_(count) {}

  void add() noexcept {
    if (TULP_SINGLE_THREADED)
      count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    else
      count_.fetch_add(1, std::memory_order_relaxed);
  }
  /// True if that was the last one.
  [[nodiscard]] bool drop() noexcept {
    const std::uint32_t present = count_.load(std::memory_order_acquire);
    if (present == 1) return true;  // nobody is left who could change it
    if (!TULP_SINGLE_THREADED) return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
    count_.store(present - 1, std::memory_order_relaxed);
    return false;
  }
  bool is_one() const noexcept { return count_.load(std::memory_order_acquire) == 1; }

 private:
  std::atomic<std::uint32_t> count_;
};

/// A base with a reference count that starts at 1.
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void add_ref() const noexcept { count_.add(); }
  void drop_ref() const noexcept {
    if (count_.drop()) last_reference_dropped();
  }
  /// True if the caller's is the last reference, so that it may move the contents out.
  [[gnu::noinline]] bool is_unique() const noexcept { return count_.is_one(); }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;
  virtual void last_reference_dropped() const noexcept { delete this; }

 private:
  mutable RefCount count_{1};
};

/// A reference to a T, which has add_ref() and drop_ref() as RefCounted has them; or null.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) noexcept {}
  /// Takes over the reference that the caller holds, such as the first one.
  static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  /// Adds a reference.
  static Ref share(T* object) noexcept {
    if (object != nullptr) object->add_ref();
    return adopt(object);
  }
  Ref(const Ref& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->add_ref();
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
  requires std::is_convertible_v<U*, T*> Ref(Ref<U> other)
  noexcept : object_(other.release()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->drop_ref();
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  T* release() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

}  // namespace tulp::detail
