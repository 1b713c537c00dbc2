/* The default upstreams. Thread: any (immutable). */
#include "common/oci/usual.h"

#include "common/core/base.h"

#define NAME(name) name,
const char *const usual_upstreams[] = {USUAL_HUB, USUAL_OTHERS(NAME)};
const size_t usual_n_upstreams = ARRAY_LEN(usual_upstreams);
