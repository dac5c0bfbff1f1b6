package orlop.runtime;

import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.reflect.Field;

/**
 * The engine's C interface, as far as it is called without the Java API: a table of functions to
 * which versions only append, so the positions below hold for every later one. Addresses are longs,
 * so that a call allocates nothing. Thread-safe; the engine must have been started.
 */
final class EngineApi {
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;

  /** The version that first had all functions used here. */
  private static final int VERSION = 15;

  private static final int MOST_TEXT = 4_096;
  private static final int POSITIONS = 256;

  private static final MemorySegment TABLE = table();
  private static final MethodHandle ERROR_CODE = function(1, INT, LONG);
  private static final MethodHandle ERROR_MESSAGE = function(2, LONG, LONG);
  private static final MethodHandle RUN =
      function(9, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG);
  private static final MethodHandle NEW_RUN_OPTIONS = function(39, LONG, LONG);
  private static final MethodHandle TERMINATE = function(46, LONG, LONG);
  private static final MethodHandle NEW_TENSOR =
      function(49, LONG, LONG, LONG, LONG, LONG, LONG, INT, LONG);
  private static final MethodHandle DATA = function(51, LONG, LONG, LONG);
  private static final MethodHandle RANK = function(61, LONG, LONG, LONG);
  private static final MethodHandle DIMENSIONS = function(62, LONG, LONG, LONG, LONG);
  private static final MethodHandle SHAPE = function(65, LONG, LONG, LONG);
  private static final MethodHandle NEW_CPU_MEMORY = function(69, LONG, INT, INT, LONG);
  private static final MethodHandle FREE_STATUS = release(93);
  private static final MethodHandle FREE_VALUE = release(96);
  private static final MethodHandle FREE_RUN_OPTIONS = release(97);
  private static final MethodHandle FREE_SHAPE = release(99);

  /** Says that tensors lie in ordinary memory. */
  private static final long CPU_MEMORY = cpuMemory();

  private static final Field SESSION = handleOf(OrtSession.class);

  private EngineApi() {}

  /** What the session is called on the native side. */
  static long handle(OrtSession session) {
    try {
      return SESSION.getLong(session);
    } catch (IllegalAccessException e) {
      throw new IllegalStateException("the handle of a session cannot be read", e);
    }
  }

  /** The field in which a class of the Java API keeps its native handle. */
  static Field handleOf(Class<?> type) {
    try {
      Field handle = type.getDeclaredField("nativeHandle");
      handle.setAccessible(true);
      return handle;
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("ONNX Runtime's " + type.getSimpleName() + " is unknown", e);
    }
  }

  /** A function of the interface that returns a status. */
  static MethodHandle function(int position, MemoryLayout result, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(
            TABLE.getAtIndex(ValueLayout.ADDRESS, position),
            FunctionDescriptor.of(result, arguments));
  }

  /** Runs a session; all but the counts are addresses, {@code options} may be 0. */
  static void run(
      long session,
      long options,
      long inputNames,
      long inputs,
      int inputCount,
      long outputNames,
      int outputCount,
      long outputs)
      throws OrtException {
    long status;
    try {
      status =
          (long)
              RUN.invokeExact(
                  session,
                  options,
                  inputNames,
                  inputs,
                  (long) inputCount,
                  outputNames,
                  (long) outputCount,
                  outputs);
    } catch (Throwable e) {
      throw broken(e);
    }
    check(status);
  }

  /** Makes a tensor over memory that stays the caller's, and writes its address to {@code out}. */
  static void tensor(long data, long bytes, long shape, int rank, int onnxCode, long out)
      throws OrtException {
    long status;
    try {
      status =
          (long) NEW_TENSOR.invokeExact(CPU_MEMORY, data, bytes, shape, (long) rank, onnxCode, out);
    } catch (Throwable e) {
      throw broken(e);
    }
    check(status);
  }

  /** Writes the address of the tensor's elements to {@code out}. */
  static void data(long tensor, long out) throws OrtException {
    long status;
    try {
      status = (long) DATA.invokeExact(tensor, out);
    } catch (Throwable e) {
      throw broken(e);
    }
    check(status);
  }

  /**
   * Reads the tensor's shape.
   *
   * @param scratch one long, for this call alone
   * @param most dimensions that there is room for
   * @return how many there are
   */
  static int shape(long tensor, MemorySegment scratch, long dimensions, int most)
      throws OrtException {
    try {
      check((long) SHAPE.invokeExact(tensor, scratch.address()));
      long shape = scratch.get(LONG, 0);
      try {
        check((long) RANK.invokeExact(shape, scratch.address()));
        int rank = Math.toIntExact(scratch.get(LONG, 0));
        if (rank > most) {
          throw new OrtException("a tensor of " + rank + " dimensions, expected at most " + most);
        }
        check((long) DIMENSIONS.invokeExact(shape, dimensions, (long) rank));
        return rank;
      } finally {
        FREE_SHAPE.invokeExact(shape);
      }
    } catch (OrtException e) {
      throw e;
    } catch (Throwable e) {
      throw broken(e);
    }
  }

  static void freeValue(long value) {
    try {
      FREE_VALUE.invokeExact(value);
    } catch (Throwable e) {
      throw broken(e);
    }
  }

  /** Options of one run, by which it can be stopped. */
  static long runOptions(MemorySegment scratch) throws OrtException {
    try {
      check((long) NEW_RUN_OPTIONS.invokeExact(scratch.address()));
      return scratch.get(LONG, 0);
    } catch (OrtException e) {
      throw e;
    } catch (Throwable e) {
      throw broken(e);
    }
  }

  static void terminate(long runOptions) throws OrtException {
    long status;
    try {
      status = (long) TERMINATE.invokeExact(runOptions);
    } catch (Throwable e) {
      throw broken(e);
    }
    check(status);
  }

  static void freeRunOptions(long runOptions) {
    try {
      FREE_RUN_OPTIONS.invokeExact(runOptions);
    } catch (Throwable e) {
      throw broken(e);
    }
  }

  private static void check(long status) throws OrtException {
    if (status == 0) {
      return;
    }
    int code;
    String text;
    try {
      code = (int) ERROR_CODE.invokeExact(status);
      long message = (long) ERROR_MESSAGE.invokeExact(status);
      text = MemorySegment.ofAddress(message).reinterpret(MOST_TEXT).getString(0);
      FREE_STATUS.invokeExact(status);
    } catch (Throwable e) {
      throw broken(e);
    }
    throw new OrtException(OrtException.OrtErrorCode.mapFromInt(code), text);
  }

  private static IllegalStateException broken(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return new IllegalStateException("a native call failed: " + e, e);
  }

  private static MethodHandle release(int position) {
    return Linker.nativeLinker()
        .downcallHandle(
            TABLE.getAtIndex(ValueLayout.ADDRESS, position), FunctionDescriptor.ofVoid(LONG));
  }

  private static long cpuMemory() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(LONG);
      // A device allocator of the default memory type.
      check((long) NEW_CPU_MEMORY.invokeExact(0, 0, out.address()));
      return out.get(LONG, 0);
    } catch (Throwable e) {
      throw new IllegalStateException("the engine does not describe its memory: " + e, e);
    }
  }

  private static MemorySegment table() {
    try {
      Linker linker = Linker.nativeLinker();
      MethodHandle getApiBase =
          linker.downcallHandle(
              SymbolLookup.loaderLookup().findOrThrow("OrtGetApiBase"),
              FunctionDescriptor.of(ValueLayout.ADDRESS));
      MemorySegment base = (MemorySegment) getApiBase.invokeExact();
      // OrtApiBase begins with GetApi(uint32_t version).
      MemorySegment address =
          base.reinterpret(ValueLayout.ADDRESS.byteSize()).get(ValueLayout.ADDRESS, 0);
      MethodHandle getApi =
          linker.downcallHandle(address, FunctionDescriptor.of(ValueLayout.ADDRESS, INT));
      MemorySegment api = (MemorySegment) getApi.invokeExact(VERSION);
      if (api.address() == 0) {
        throw new IllegalStateException("it does not speak version " + VERSION);
      }
      return api.reinterpret(POSITIONS * ValueLayout.ADDRESS.byteSize());
    } catch (Throwable e) {
      throw new IllegalStateException("ONNX Runtime's C interface cannot be reached: " + e, e);
    }
  }
}
