/* Language helpers that every file may use: cleanup at scope end, results that must be checked, container lookup. No
 * functions are declared here. Thread: any. */
#ifndef ENTREPOT_CORE_BASE_H
#define ENTREPOT_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _unused_ __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* `_cleanup_(freep) char *s` frees s at scope end. */
static inline void freep(void *p) {
    free(*(void **)p);
}
/* `_cleanup_(closep) int fd = -1` closes fd at scope end. */
static inline void closep(const int *fd) {
    if (*fd >= 0) close(*fd);
}

#define KiB (1024LL)
#define MiB (1024LL * KiB)
#define GiB (1024LL * MiB)

#endif
