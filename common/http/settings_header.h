/* The header with the version of the settings by which a node has decided names. Requests between nodes carry it. A
 * node with other settings answers 409 and sends its own version (docs/protocol.md "Edge to central"). Thread: any. */
#ifndef ENTREPOT_HTTP_SETTINGS_HEADER_H
#define ENTREPOT_HTTP_SETTINGS_HEADER_H

#include "common/core/base.h"

#define SETTINGS_HEADER "Entrepot-Settings"
#define SETTINGS_REFUSED 409

/* Writes 16 hexadecimal digits and NUL. Returns out. */
char *settings_header_format(uint64_t version, char out[17]);
/* The version, or 0 (which is no version) if value is NULL or malformed. */
uint64_t settings_header_parse(const char *value);

#endif
