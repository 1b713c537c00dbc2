/* Packs a message into memory of its size. Thread: any. */
#include "common/wire/pack.h"

#include "common/core/alloc.h"

int wire_pack(const ProtobufCMessage *m, size_t max, uint8_t **out, size_t *len) {
    *len = protobuf_c_message_get_packed_size(m);
    *out = NULL;
    if (*len > max) return ERR_TOO_BIG;
    *out = xmalloc(*len + 1);
    protobuf_c_message_pack(m, *out);
    return 0;
}
