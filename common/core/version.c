/* The version has a file of its own, so that a new commit recompiles only this. */
#include "common/core/version.h"

#include "version_made.h"

const char entrepot_version[] = VERSION_MADE;
const char entrepot_commit[] = VERSION_COMMIT;
