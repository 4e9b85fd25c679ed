// ISA-L leaves the upper halves of the vector registers in use. From then on every step between
// our code (SSE) and the C library's (AVX) costs hundreds of ns, until somebody clears them.
// Cost: a call and an instruction.
#pragma once

namespace quoll::base {

void clear_upper_halves();

}  // namespace quoll::base
