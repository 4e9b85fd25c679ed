// Headers of others that most files include, parsed once per build instead of once per file. The
// Makefile puts this before every file; each file still includes what it uses, so that
// `make PRECOMPILED= PRECOMPILED_tests=` builds as well.
#include <emmintrin.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#ifdef QUOLL_JOINED  // built whole: what the larger half of the files includes of our own
#include "server/cluster_node.h"
#include "server/server.h"
#endif
