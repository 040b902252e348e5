// Emulated `libcuda.so`: streams, events, captures and graphs. Submitted work is done immediately, so that every stream
// is always idle. While a stream captures, the work is stored in the graph instead.
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "driver.h"

namespace emulation {

namespace {

struct Event {
  std::chrono::steady_clock::time_point time{};
  // The graph that captured it, or null.
  const Graph* capture = nullptr;
};

// Counts a host synchronization: appends a byte to the file that the environment may name.
void count_synchronization() {
  if (const char* path = std::getenv("RNNLM_EMULATION_SYNCHRONIZATIONS")) std::ofstream(path, std::ios::app) << '.';
}

}  // namespace

}  // namespace emulation

using namespace emulation;

extern "C" {

// Streams

Result cuStreamCreate(void** stream, unsigned) {
  if (!current_device()) return error(INVALID_CONTEXT, "a stream without a context");
  *stream = new Stream{current_device()};
  return SUCCESS;
}

Result cuStreamDestroy_v2(void* stream) {
  delete static_cast<Stream*>(stream);
  return SUCCESS;
}

Result cuStreamSynchronize(void* handle) {
  count_synchronization();
  const Stream* stream = stream_of(handle);
  return stream && stream->capture ? error_while_capturing("a synchronization") : SUCCESS;
}

Result cuStreamWaitEvent(void* handle, void* event, unsigned) {
  const Stream* stream = stream_of(handle);
  const bool is_outside = stream && stream->capture && static_cast<Event*>(event)->capture != stream->capture;
  return is_outside ? error(STREAM_CAPTURE_ISOLATION, "captured work depends on work outside the capture") : SUCCESS;
}

// Events

Result cuEventCreate(void** event, unsigned) {
  *event = new Event;
  return SUCCESS;
}

Result cuEventDestroy_v2(void* event) {
  delete static_cast<Event*>(event);
  return SUCCESS;
}

Result cuEventRecord(void* handle, void* stream_handle) {
  Event* event = static_cast<Event*>(handle);
  Stream* stream = stream_of(stream_handle);
  event->capture = stream ? stream->capture : nullptr;
  return submit(stream, [event] {
    event->time = std::chrono::steady_clock::now();
    return SUCCESS;
  });
}

Result cuEventSynchronize(void*) {
  count_synchronization();
  return SUCCESS;
}

Result cuEventQuery(void*) { return SUCCESS; }

Result cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) {
  const auto time = static_cast<Event*>(to)->time - static_cast<Event*>(from)->time;
  *milliseconds = std::chrono::duration<float, std::milli>(time).count();
  return SUCCESS;
}

Result cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  return cuEventElapsedTime_v2(milliseconds, from, to);
}

// Graphs

Result cuStreamBeginCapture_v2(void* handle, int) {
  if (!handle) return error(STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot capture");
  Stream* stream = static_cast<Stream*>(handle);
  if (stream->capture) return error_while_capturing("a second capture");
  stream->capture = new Graph;
  return SUCCESS;
}

Result cuStreamEndCapture(void* handle, void** graph) {
  Stream* stream = stream_of(handle);
  if (!stream || !stream->capture) return error(INVALID_VALUE, "the stream does not capture");
  *graph = stream->capture;
  stream->capture = nullptr;
  return SUCCESS;
}

Result cuStreamIsCapturing(void* handle, int* status) {
  const Stream* stream = stream_of(handle);
  *status = stream && stream->capture ? 1 : 0;
  return SUCCESS;
}

Result cuGraphInstantiateWithFlags(void** instance, void* graph, unsigned long long) {
  *instance = new Graph(*static_cast<Graph*>(graph));
  return SUCCESS;
}

Result cuGraphUpload(void*, void*) { return SUCCESS; }

Result cuGraphLaunch(void* instance, void* handle) {
  for (const Work& node : static_cast<Graph*>(instance)->nodes)
    if (const Result result = submit(stream_of(handle), node)) return result;
  return SUCCESS;
}

Result cuGraphExecDestroy(void* instance) {
  delete static_cast<Graph*>(instance);
  return SUCCESS;
}

Result cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return SUCCESS;
}

}  // extern "C"
