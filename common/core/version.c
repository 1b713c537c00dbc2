/* The version in a file of its own: a new commit compiles this alone again. */
#include "common/core/version.h"

#include "version_made.h"

const char entrepot_version[] = VERSION_MADE;
const char entrepot_commit[] = VERSION_COMMIT;
