/* Structured logs: one line for each event, as key=value or JSON. Thread: any (one write(2) a line, no lock). */
#ifndef ENTREPOT_CORE_LOG_H
#define ENTREPOT_CORE_LOG_H

#include "common/core/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_KV, LOG_FORMAT_JSON };

enum log_kind { LOG_KIND_END = 0, LOG_KIND_STR, LOG_KIND_INT, LOG_KIND_DBL };
/* One key and its value; strings are borrowed for the call and escaped by the writer (control bytes never reach the
 * log). */
struct log_kv {
    enum log_kind kind;
    const char *key;
    const char *str;
    long long num;
    double dbl;
};
#define KV_S(k, v) ((struct log_kv){.kind = LOG_KIND_STR, .key = (k), .str = (v)})
#define KV_I(k, v) ((struct log_kv){.kind = LOG_KIND_INT, .key = (k), .num = (long long)(v)})
#define KV_F(k, v) ((struct log_kv){.kind = LOG_KIND_DBL, .key = (k), .dbl = (v)})

/* Called once before threads start. fd is borrowed (normally 2). program ("entrepot-edge") is borrowed for ever. */
void log_init(int fd, enum log_format format, enum log_level level, const char *program);
bool log_enabled(enum log_level level);
/* What a line of this level begins with where it is printed to fd by other means than the log: "<3>" and the like if the
 * journal reads fd, or else "". A constant. */
const char *log_journal_mark(int fd, enum log_level level);
/* event: a stable snake_case word. kvs ends with kind LOG_KIND_END. Lines over 8 KiB are cut. */
void log_write(enum log_level level, const char *event, const struct log_kv *kvs);

#ifdef __CPPCHECK__ /* does not know __VA_OPT__ */
#define LOG_AT(level, event, ...) log_write(level, event, NULL)
#else
#define LOG_AT(level, event, ...)                                                                                \
    do {                                                                                                         \
        if (log_enabled(level)) log_write(level, event, (const struct log_kv[]){__VA_ARGS__ __VA_OPT__(, ){0}}); \
    } while (0)
#endif
#define log_error(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

#endif
