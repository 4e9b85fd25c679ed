// The headers nearly every unit test needs, read by the compiler once (see Makefile).
#include <doctest/doctest.h>

#include "src/precompiled.h"
