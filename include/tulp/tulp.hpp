// All of tulp.  Floor 8, streams.
#pragma once
#include <tulp/duration.hpp>
#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/future.hpp>
#include <tulp/run.hpp>
#include <tulp/task.hpp>
