// Context: the values of context variables that a flow of control sees.  Floor 1, base.
#pragma once
#include <tulp/detail/ref.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace tulp::detail {

/// Shared by everything that was made under it, and copied by who changes it then.
class Context final : public RefCounted {
 public:
  Context() = default;
  explicit Context(const Context& other) : RefCounted(), values_(other.values_) {}

  /// Null if there is none.
  std::shared_ptr<const void> find(std::uint64_t key) const noexcept;
  /// Null takes it away.
  void set(std::uint64_t key, std::shared_ptr<const void> value);

 private:
  struct Value {
    std::uint64_t key;
    std::shared_ptr<const void> value;
  };
  std::vector<Value> values_;
};

/// The running task's or callback's, or the thread's own.  Null: no values.
Ref<Context>& present_context() noexcept;
/// Set by the tasks, which keep their own: where the running task's is, or null outside a task.
using TaskContextFinder = Ref<Context>* (*)() noexcept;
extern std::atomic<TaskContextFinder> find_task_context;

/// False until a variable is set for the first time: until then a context costs nothing.
extern std::atomic<bool> are_contexts_used;
Ref<Context> capture_context_slowly() noexcept;
inline Ref<Context> capture_context() noexcept {
  if (!are_contexts_used.load(std::memory_order_relaxed)) [[likely]]
    return nullptr;
  return capture_context_slowly();
}

/// While it lives, what runs outside of tasks on this thread sees `context`, and changes a copy of it.
class ContextScope {
 public:
  explicit ContextScope(const Ref<Context>& context) noexcept {
    if (are_contexts_used.load(std::memory_order_relaxed)) [[unlikely]]
      enter(context);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  ~ContextScope() {
    if (has_entered_) [[unlikely]]
      leave();
  }

 private:
  void enter(const Ref<Context>& context) noexcept;
  void leave() noexcept;
  Ref<Context> outer_;
  bool has_entered_ = false;
};

}  // namespace tulp::detail
