// All of tulp.  Floor 8, streams.
#pragma once
#include <tulp/address.hpp>
#include <tulp/concurrent_future.hpp>
#include <tulp/address_info.hpp>
#include <tulp/duration.hpp>
#include <tulp/error.hpp>
#include <tulp/event_loop.hpp>
#include <tulp/executor.hpp>
#include <tulp/fd.hpp>
#include <tulp/future.hpp>
#include <tulp/protocol.hpp>
#include <tulp/run.hpp>
#include <tulp/server.hpp>
#include <tulp/stream.hpp>
#include <tulp/task.hpp>
#include <tulp/transport.hpp>
#include <tulp/wait.hpp>
