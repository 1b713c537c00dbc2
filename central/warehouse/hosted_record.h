/* Makes the record of hosted images (hosted.h) the durable record of content/content.h. Thread: any that may block on
 * the disk. */
#ifndef ENTREPOT_WAREHOUSE_HOSTED_RECORD_H
#define ENTREPOT_WAREHOUSE_HOSTED_RECORD_H

#include "central/warehouse/hosted.h"
#include "common/content/content.h"

struct content_record hosted_record(struct hosted *h);

#endif
