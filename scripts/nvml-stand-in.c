// Stands in for NVIDIA's driver library where there is no GPU: two of them, of which the second does not know what power it draws.
// scripts/check-monitoring.sh builds it, so that the learner's way to the library and the dashboard's panels of GPUs are checked. It says
// nothing about a real driver. The types are those of nvml.h.
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3 };

struct utilisation { unsigned gpu, memory; };
struct memory { unsigned version; unsigned long long total, reserved, free, used; };

static int numbers[] = {0, 1};

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    strncpy(version, "570.0", length);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 2;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &numbers[index];
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilisation *rates) {
    rates->gpu = 37 + *(int *)device;
    rates->memory = 5;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory) {
    (void)device;
    memory->total = 80ULL << 30;
    memory->used = 3ULL << 30;
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    if (*(int *)device != 0) return NOT_SUPPORTED;
    *milliwatts = 251500;
    return SUCCESS;
}
