/* Headers of HTTP requests between nodes (docs/protocol.md "Edge to central"). Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_NODE_HEADERS_H
#define ENTREPOT_WIRE_NODE_HEADERS_H

#include "common/core/base.h"

/* A node that got bytes which do not match their digest says so when it asks for them again. */
#define DOUBT_HEADER "Entrepot-Doubt"
#define DOUBT_MISMATCH "mismatch"

/* The version of the settings by which a node has decided names. Requests between nodes carry it. A node with other
 * settings answers SETTINGS_REFUSED and sends its own version. */
#define SETTINGS_HEADER "Entrepot-Settings"
#define SETTINGS_REFUSED 409

/* The client for which a node asks: a number of 8 hexadecimal digits that means nothing elsewhere. Central shares its
 * places among nodes, and a node's among these. */
#define CLIENT_HEADER "Entrepot-Client"
/* What an edge says of itself with each request: a random number of its process, as 16 hexadecimal digits, and its
 * version. */
#define INSTANCE_HEADER "Entrepot-Instance"
#define VERSION_HEADER "Entrepot-Version"
/* Which roots an edge trusts, as 16 hexadecimal digits (roots_mark). */
#define ROOTS_HEADER "Entrepot-Roots"
/* Why central does not answer this edge: one line, with status 403. */
#define REFUSED_HEADER "Entrepot-Refused"

/* The address that central sees an edge come from, in answers on WIRE_ROAD_PATH. */
#define SEEN_HEADER "Entrepot-Seen-As"

/* Writes 16 hexadecimal digits and NUL. Returns out. */
char *settings_header_format(uint64_t version, char out[17]);
/* The version, or 0 (which is no version) if value is NULL or malformed. */
uint64_t settings_header_parse(const char *value);
/* Writes the header itself, "Entrepot-Client: 0000002a". Returns out. client: not 0. */
#define CLIENT_HEADER_MAX (sizeof(CLIENT_HEADER ": ") + 8)
char *client_header_format(uint32_t client, char out[CLIENT_HEADER_MAX]);
/* The client, or 0 (which is none) if value is NULL or malformed. */
uint32_t client_header_parse(const char *value);

#endif
