#include <tulp/detail/context.hpp>

#include <algorithm>
#include <utility>

namespace tulp::detail {
namespace {

thread_local Ref<Context> outside_tasks;

}  // namespace

constinit std::atomic<bool> are_contexts_used = false;
constinit std::atomic<TaskContextFinder> find_task_context = nullptr;

std::shared_ptr<const void> Context::find(std::uint64_t key) const noexcept {
  for (const Value& one : values_) {
    if (one.key == key) return one.value;
  }
  return nullptr;
}

void Context::set(std::uint64_t key, std::shared_ptr<const void> value) {
  const auto at = std::find_if(values_.begin(), values_.end(), [key](const Value& one) { return one.key == key; });
  if (at == values_.end()) {
    if (value != nullptr) values_.push_back({key, std::move(value)});
  } else if (value != nullptr) {
    at->value = std::move(value);
  } else {
    values_.erase(at);
  }
}

Ref<Context>& present_context() noexcept {
  const TaskContextFinder find = find_task_context.load(std::memory_order_acquire);
  Ref<Context>* const of_task = find != nullptr ? find() : nullptr;
  return of_task != nullptr ? *of_task : outside_tasks;
}

Ref<Context> capture_context_slowly() noexcept { return present_context(); }

void ContextScope::enter(const Ref<Context>& context) noexcept {
  outer_ = std::exchange(outside_tasks, context);
  has_entered_ = true;
}

void ContextScope::leave() noexcept { outside_tasks = std::move(outer_); }

}  // namespace tulp::detail
