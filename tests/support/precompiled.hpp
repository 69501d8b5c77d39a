// What nearly every test includes, read once for each program: the compiler puts it before each file, which includes what it
// needs all the same, as a build with -Db_pch=false shows.
#include <tulp/tulp.hpp>

#include "support/loops.hpp"
