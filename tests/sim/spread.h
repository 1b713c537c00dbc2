/* Numbers of which the middle and the ends are told. Thread: owned by its user. */
#ifndef ENTREPOT_SIM_SPREAD_H
#define ENTREPOT_SIM_SPREAD_H

#include <jansson.h>
#include <stdint.h>

struct spread {
    int64_t *values;
    size_t n, cap;
};
void spread_add(struct spread *s, int64_t value);
void spread_clear(struct spread *s);
void spread_fini(struct spread *s);
/* {"n", "min", "p50", "p99", "max"}, each value divided by unit. The values are sorted. The caller frees it. */
json_t *spread_json(struct spread *s, double unit);

#endif
