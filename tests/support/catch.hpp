// Catch2, whichever version is installed: 2.13 has one header, 3 has many.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as in Catch2 2, where catch.hpp says so itself
#else
#include <catch2/catch.hpp>
#endif
