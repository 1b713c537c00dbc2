/* Parses quantities of the configuration: sizes, durations, rates, booleans, numbers. All fail with ERR_INVALID. Pure.
 * Thread: any. */
#ifndef ENTREPOT_CONFIG_UNITS_H
#define ENTREPOT_CONFIG_UNITS_H

#include "common/core/error.h"

/* "500GiB", "1.5 MiB", "4096" -> bytes. Units B, KiB, MiB, GiB, TiB. */
int size_parse(const char *s, int64_t *bytes, struct error *err) must_check;
/* "60s", "250ms", "1h30m" -> milliseconds. Units ms, s, m, h, d; a number alone is refused unless it is 0. */
int duration_parse(const char *s, int64_t *ms, struct error *err) must_check;
/* "20Mbit/s", "2.5MiB/s" -> bytes per second. Bits by thousands (kbit/s Mbit/s Gbit/s), bytes by 1024 (KiB/s MiB/s
 * GiB/s). */
int rate_parse(const char *s, int64_t *bytes_per_s, struct error *err) must_check;
/* "2/s" -> 2 a second, within [min, max]. A number alone is refused unless it is 0. */
int frequency_parse(const char *s, int64_t min, int64_t max, int64_t *per_s, struct error *err) must_check;
/* true, yes, on; false, no, off. */
int bool_parse(const char *s, bool *value, struct error *err) must_check;
/* A whole decimal number within [min, max]. */
int int_parse(const char *s, int64_t min, int64_t max, int64_t *value, struct error *err) must_check;

#endif
