/* Counts messages in windows of DNS_FLOOD_MS. Thread: as flood.h says. */
#include "common/dns/flood.h"

bool dns_flood_take(struct dns_flood *f, int64_t now_ms, size_t n) {
    bool before = f->under_way;
    if (now_ms - f->began_ms >= DNS_FLOOD_MS) {
        if (f->messages < DNS_FLOOD_MESSAGES / 2) f->under_way = false;
        f->began_ms = now_ms;
        f->messages = 0;
    }
    f->messages += (unsigned)n;
    if (f->messages >= DNS_FLOOD_MESSAGES) f->under_way = true;
    return f->under_way != before;
}
