package orlop.runtime;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * What NVIDIA's management library says about this machine. It is asked before CUDA is touched,
 * because CUDA answers the same question in tens of seconds and a first failure is for the life of
 * the process.
 */
sealed interface Gpu {

  /** At least one device answers. */
  record Present(List<Device> devices) implements Gpu {}

  /** None can be used, and why, in words that fit a log line. */
  record Absent(String reason) implements Gpu {}

  /**
   * @param freeBytes when asked
   */
  record Device(String name, long totalBytes, long freeBytes) {}

  /** Asks anew, in some tens of milliseconds. Never throws. */
  static Gpu probe() {
    return Nvml.probe("libnvidia-ml.so.1");
  }

  /** The few calls of the library that the question needs. */
  final class Nvml {
    private static final int SUCCESS = 0;
    private static final int NAME_BYTES = 96;
    private static final AddressLayout POINTER = ValueLayout.ADDRESS;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    // nvmlMemory_t: total, free, used.
    private static final MemoryLayout MEMORY =
        MemoryLayout.sequenceLayout(3, ValueLayout.JAVA_LONG);

    private final SymbolLookup library;
    private final Linker linker = Linker.nativeLinker();

    private Nvml(SymbolLookup library) {
      this.library = library;
    }

    static Gpu probe(String libraryName) {
      try (Arena arena = Arena.ofConfined()) {
        return new Nvml(SymbolLookup.libraryLookup(libraryName, arena)).ask(arena);
      } catch (IllegalCallerException e) {
        return new Absent("native access is not enabled for this process");
      } catch (IllegalArgumentException e) {
        return new Absent("no NVIDIA driver on this machine (" + libraryName + " not found)");
      } catch (Throwable e) {
        return new Absent("the NVIDIA driver could not be asked: " + e);
      }
    }

    private Gpu ask(Arena arena) throws Throwable {
      int rc = (int) call("nvmlInit_v2").invokeExact();
      if (rc != SUCCESS) {
        return new Absent("the NVIDIA driver does not start (nvmlInit: " + rc + ")");
      }
      try {
        MemorySegment count = arena.allocate(INT);
        rc = (int) call("nvmlDeviceGetCount_v2", POINTER).invokeExact(count);
        if (rc != SUCCESS) {
          return new Absent("the NVIDIA driver does not count its devices (" + rc + ")");
        }
        List<Device> devices = new ArrayList<>();
        for (int i = 0; i < count.get(INT, 0); i++) {
          devices.add(device(i, arena));
        }
        return devices.isEmpty()
            ? new Absent("the NVIDIA driver has no device")
            : new Present(List.copyOf(devices));
      } finally {
        int unused = (int) call("nvmlShutdown").invokeExact();
      }
    }

    private Device device(int index, Arena arena) throws Throwable {
      MemorySegment holder = arena.allocate(POINTER);
      int rc = (int) call("nvmlDeviceGetHandleByIndex_v2", INT, POINTER).invokeExact(index, holder);
      check(rc, "nvmlDeviceGetHandleByIndex");
      MemorySegment handle = holder.get(POINTER, 0);
      MemorySegment memory = arena.allocate(MEMORY);
      rc = (int) call("nvmlDeviceGetMemoryInfo", POINTER, POINTER).invokeExact(handle, memory);
      check(rc, "nvmlDeviceGetMemoryInfo");
      MemorySegment name = arena.allocate(NAME_BYTES);
      rc =
          (int)
              call("nvmlDeviceGetName", POINTER, POINTER, INT)
                  .invokeExact(handle, name, NAME_BYTES);
      check(rc, "nvmlDeviceGetName");
      return new Device(
          name.getString(0),
          memory.getAtIndex(ValueLayout.JAVA_LONG, 0),
          memory.getAtIndex(ValueLayout.JAVA_LONG, 1));
    }

    private static void check(int rc, String call) {
      if (rc != SUCCESS) {
        throw new IllegalStateException(call + " answered " + rc);
      }
    }

    private MethodHandle call(String symbol, MemoryLayout... arguments) {
      return linker.downcallHandle(
          library.find(symbol).orElseThrow(() -> new IllegalStateException("no " + symbol)),
          FunctionDescriptor.of(INT, arguments));
    }
  }
}
