/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of short inputs. Pure. Thread: any. */
#ifndef ENTREPOT_CORE_SIPHASH_H
#define ENTREPOT_CORE_SIPHASH_H

#include "common/core/base.h"

/* key: its 16 bytes as two little-endian numbers. The result's bytes, in the algorithm's own order, are those of the
 * number in little-endian order. */
uint64_t siphash(const uint64_t key[2], const void *data, size_t len);

#endif
