/* libnvidia-ml.so.1 for tests: the calls that the plugin makes, answered from a text file named by NVML_STUB.
 *
 * Each line is "key value".  Keys: init (a return code), driver, count, hang (while it is 1, counting cards does not
 * return), card.<i>.<name> and card.<i>.mig.<j>.<name>; what is not there is "not supported".  card.<i>.error is the
 * code that every call about that card returns.  One event waits in the file <NVML_STUB>.event: "card type data gi ci".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10 };
typedef unsigned long long u64;

/* A device's handle is 1 + card, or 1000 + 100 * card + slot for an instance. */
static int is_instance(void *device) { return (long)device >= 1000; }
static int card_of(void *device) { return is_instance(device) ? ((long)device - 1000) / 100 : (long)device - 1; }
static int slot_of(void *device) { return ((long)device - 1000) % 100; }

static int look_up(const char *key, char *value, size_t size) {
    char line[512];
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    int found = 0;
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    fclose(file);
    return found;
}

static u64 number(const char *key, u64 otherwise) {
    char value[128];
    return look_up(key, value, sizeof value) ? strtoull(value, NULL, 0) : otherwise;
}

static void name_key(void *device, const char *name, char *key, size_t size) {
    if (is_instance(device)) snprintf(key, size, "card.%d.mig.%d.%s", card_of(device), slot_of(device), name);
    else snprintf(key, size, "card.%d.%s", card_of(device), name);
}

static int error_of(void *device) {
    char key[128];
    snprintf(key, sizeof key, "card.%d.error", card_of(device));
    return (int)number(key, OK);
}

static int text_of(void *device, const char *name, char *value, size_t size) {
    char key[128];
    int error = error_of(device);
    if (error) return error;
    name_key(device, name, key, sizeof key);
    return look_up(key, value, size) ? OK : NOT_SUPPORTED;
}

static int number_of(void *device, const char *name, u64 *value) {
    char text[128];
    int code = text_of(device, name, text, sizeof text);
    if (code == OK) *value = strtoull(text, NULL, 0);
    return code;
}

static int unsigned_of(void *device, const char *name, unsigned *value) {
    u64 wide = 0;
    int code = number_of(device, name, &wide);
    if (code == OK) *value = (unsigned)wide;
    return code;
}

static int is_open;

int nvmlInitWithFlags(unsigned flags) {
    int code = (int)number("init", OK);
    (void)flags;
    is_open = code == OK;
    return code;
}
int nvmlShutdown(void) { is_open = 0; return OK; }
const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "stub error %d", code);
    return text;
}
int nvmlSystemGetDriverVersion(char *value, unsigned size) {
    if (!is_open) return UNINITIALIZED;
    return look_up("driver", value, size) ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!is_open) return UNINITIALIZED;
    while (number("hang", 0)) usleep(10000);
    *count = (unsigned)number("count", 0);
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return OK; }
int nvmlDeviceGetUUID(void *d, char *v, unsigned size) { return text_of(d, "uuid", v, size); }
int nvmlDeviceGetName(void *d, char *v, unsigned size) { return text_of(d, "name", v, size); }
int nvmlDeviceGetMinorNumber(void *d, unsigned *v) { return unsigned_of(d, "minor", v); }
int nvmlDeviceGetPowerManagementLimit(void *d, unsigned *v) { return unsigned_of(d, "limit", v); }
int nvmlDeviceGetPowerUsage(void *d, unsigned *v) { return unsigned_of(d, "power", v); }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *v) { (void)sensor; return unsigned_of(d, "temperature", v); }
int nvmlDeviceGetMaxPcieLinkGeneration(void *d, unsigned *v) { return unsigned_of(d, "generation", v); }
int nvmlDeviceGetMaxPcieLinkWidth(void *d, unsigned *v) { return unsigned_of(d, "width", v); }
int nvmlDeviceGetDisplayMode(void *d, unsigned *v) { return unsigned_of(d, "display", v); }
int nvmlDeviceGetPersistenceMode(void *d, unsigned *v) { return unsigned_of(d, "persistence", v); }
int nvmlDeviceGetGpuInstanceId(void *d, unsigned *v) { return unsigned_of(d, "gi", v); }
int nvmlDeviceGetComputeInstanceId(void *d, unsigned *v) { return unsigned_of(d, "ci", v); }
int nvmlDeviceGetMaxClockInfo(void *d, int type, unsigned *v) {
    return unsigned_of(d, type == 2 ? "memory_clock" : "cores_clock", v);
}
int nvmlDeviceGetEncoderUtilization(void *d, unsigned *v, unsigned *us) { *us = 0; return unsigned_of(d, "encoder", v); }
int nvmlDeviceGetDecoderUtilization(void *d, unsigned *v, unsigned *us) { *us = 0; return unsigned_of(d, "decoder", v); }
int nvmlDeviceGetTotalEccErrors(void *d, int type, int counter, u64 *v) {
    (void)type, (void)counter;
    return number_of(d, "ecc", v);
}
int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) {
    char text[32];
    int code = text_of(d, "compute", text, sizeof text);
    return code ? code : sscanf(text, "%d.%d", major, minor) == 2 ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetUtilizationRates(void *d, unsigned *rates) { rates[1] = 0; return unsigned_of(d, "busy", &rates[0]); }
int nvmlDeviceGetMemoryInfo(void *d, u64 *memory) { /* total, free, used */
    int code = number_of(d, "memory", &memory[0]);
    if (code == OK && number_of(d, "used", &memory[2]) != OK) memory[2] = 0;
    memory[0] <<= 20, memory[2] <<= 20;
    memory[1] = memory[0] - memory[2];
    return code;
}
int nvmlDeviceGetBAR1MemoryInfo(void *d, u64 *bar1) {
    int code = number_of(d, "bar1", &bar1[0]);
    bar1[0] <<= 20;
    return code;
}
int nvmlDeviceGetPciInfo_v3(void *d, char *info) { /* 16 bytes of old id, 5 numbers, the id */
    memset(info, 0, 68);
    return text_of(d, "bus", info + 36, 32);
}
int nvmlDeviceGetRemappedRows(void *d, unsigned *corr, unsigned *unc, unsigned *pending, unsigned *failure) {
    *corr = *unc = *pending = 0;
    return unsigned_of(d, "remap_failure", failure);
}
struct field { unsigned id, scope; long long at, took; int type, code; u64 value; };
int nvmlDeviceGetFieldValues(void *d, int count, struct field *fields) {
    unsigned value = 0;
    (void)count;
    if (error_of(d)) return error_of(d);
    fields[0].code = fields[0].id == 230 ? unsigned_of(d, "recovery", &value) : NOT_SUPPORTED;
    fields[0].value = value;
    return OK;
}
int nvmlDeviceGetMigMode(void *d, unsigned *current, unsigned *pending) {
    *pending = 0;
    return unsigned_of(d, "mig", current);
}
int nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned *count) { *count = 7; return error_of(d); }
int nvmlDeviceGetMigDeviceHandleByIndex(void *d, unsigned slot, void **instance) {
    char uuid[96];
    *instance = (void *)(long)(1000 + 100 * card_of(d) + slot);
    return text_of(*instance, "uuid", uuid, sizeof uuid) == OK ? OK : NOT_FOUND;
}
int nvmlEventSetCreate(void **set) { *set = (void *)1; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }
int nvmlDeviceGetSupportedEventTypes(void *d, u64 *types) { *types = 2 | 8; return error_of(d); }
int nvmlDeviceRegisterEvents(void *d, u64 types, void *set) { (void)d, (void)types, (void)set; return OK; }
struct event { void *device; u64 type, data; unsigned gi, ci; };
int nvmlEventSetWait_v2(void *set, struct event *event, unsigned milliseconds) {
    char path[512];
    unsigned waited, card;
    (void)set;
    snprintf(path, sizeof path, "%s.event", getenv("NVML_STUB"));
    for (waited = 0; waited < milliseconds; waited += 5) {
        FILE *file = fopen(path, "r");
        if (file) {
            int read = fscanf(file, "%u %llu %llu %u %u", &card, &event->type, &event->data, &event->gi, &event->ci);
            fclose(file);
            unlink(path);
            event->device = (void *)(long)(card + 1);
            return read == 5 ? OK : NOT_FOUND;
        }
        usleep(5000);
    }
    return TIMEOUT;
}
