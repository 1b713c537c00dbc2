/* The version of this program and the commit it was built from. deploy/version writes them at each build. Thread:
 * any. */
#ifndef ENTREPOT_CORE_VERSION_H
#define ENTREPOT_CORE_VERSION_H

extern const char entrepot_version[]; /* "0.1.0+git20261128154913.c60e820"; "0.1.0" when built outside git */
extern const char entrepot_commit[];  /* 40 hex digits, or "unknown" */

#endif
