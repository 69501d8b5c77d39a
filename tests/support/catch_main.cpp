// The main function of the test programs under Catch2 2; Catch2 3 brings its own.
#define CATCH_CONFIG_MAIN
#define CATCH_CONFIG_NO_POSIX_SIGNALS  // signals and their alternate stack belong to tulp and to the sanitizers
#include <catch2/catch.hpp>
