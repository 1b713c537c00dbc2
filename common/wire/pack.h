/* Packs messages of protobuf-c. Pure. Thread: any. */
#ifndef ENTREPOT_WIRE_PACK_H
#define ENTREPOT_WIRE_PACK_H

#include <protobuf-c/protobuf-c.h>

#include "common/core/error.h"

/* *out is malloc'ed; the caller frees it. ERR_TOO_BIG: it would have more than max bytes; *out is NULL then. */
int wire_pack(const ProtobufCMessage *m, size_t max, uint8_t **out, size_t *len) must_check;

#endif
