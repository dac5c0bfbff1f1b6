package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ServerMetadataRequest;
import inference.SystemSharedMemoryRegisterRequest;
import inference.SystemSharedMemoryStatusRequest;
import inference.SystemSharedMemoryUnregisterRequest;
import io.grpc.Status;
import io.grpc.StatusException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Tensors in shared memory: the regions, and calls that use them. */
class SharedMemoryTest {
  private static final SharedMemoryConfig ON = new SharedMemoryConfig(true, "");

  @TempDir Path dir;

  private Path file(String name, int bytes) throws Exception {
    return Files.write(dir.resolve(name), new byte[bytes]);
  }

  private static Status refusal(Executable step) {
    return assertThrows(StatusException.class, step).getStatus();
  }

  @Test
  void aKeyIsThePlainNameOfAPlainFileAndNothingElse() throws Exception {
    Path outside = Files.createTempDirectory("orlop-outside");
    Path secret = Files.write(outside.resolve("secret"), new byte[64]);
    try (SharedMemory memory = new SharedMemory(ON, dir)) {
      file("good", 64);
      Files.createDirectory(dir.resolve("folder"));
      Files.createSymbolicLink(dir.resolve("link"), secret);
      Files.createSymbolicLink(dir.resolve("inner"), dir.resolve("good"));
      memory.register("a", "good", 0, 64);
      memory.register("b", "/good", 16, 48);
      for (String key :
          List.of(
              "",
              "/",
              ".",
              "..",
              "../secret",
              "/../secret",
              secret.toString(),
              "folder/x",
              "folder",
              "link",
              "inner",
              "nobody",
              "nul\0")) {
        Status status = refusal(() -> memory.register("bad", key, 0, 8));
        assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode(), key);
      }
      assertEquals(2, memory.status("").getRegionsCount());
      assertEquals(16, memory.status("b").getRegionsOrThrow("b").getOffset());
      assertEquals("/good", memory.status("b").getRegionsOrThrow("b").getKey());
      assertEquals(Status.Code.NOT_FOUND, refusal(() -> memory.status("c")).getCode());
    } finally {
      Files.delete(secret);
      Files.delete(outside);
    }
  }

  @Test
  void regionsLieWithinTheirFileWithinBoundsAndOncePerName() throws Exception {
    try (SharedMemory memory = new SharedMemory(ON, dir)) {
      Path good = file("good", 64);
      for (long[] part :
          List.of(
              new long[] {0, 65},
              new long[] {64, 1},
              new long[] {-1, 8},
              new long[] {0, 0},
              new long[] {0, -8},
              new long[] {Long.MAX_VALUE, 8},
              new long[] {0, SharedMemory.MAX_BYTES + 1})) {
        Status status = refusal(() -> memory.register("bad", "good", part[0], part[1]));
        assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode(), part[0] + " " + part[1]);
      }
      assertEquals(64, Files.size(good), "nothing was made longer");
      memory.register("a", "good", 0, 8);
      assertEquals(
          Status.Code.ALREADY_EXISTS, refusal(() -> memory.register("a", "good", 0, 8)).getCode());
      for (int i = 1; i < SharedMemory.MAX_REGIONS; i++) {
        memory.register("r" + i, "good", 0, 8);
      }
      Status full = refusal(() -> memory.register("one more", "good", 0, 8));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, full.getCode());
      assertTrue(Overload.is(full), "it is worth to come again");
      memory.unregister("a");
      memory.unregister("nobody");
      memory.register("one more", "good", 0, 8);
      memory.unregister("");
      assertEquals(0, memory.status("").getRegionsCount());
    }
  }

  @Test
  void aRegionThatIsUnregisteredStaysMappedForThoseWhoUseItAndACutFileIsRefused() throws Exception {
    try (SharedMemory memory = new SharedMemory(ON, dir)) {
      Path good = file("good", 64);
      memory.register("a", "good", 0, 64);
      SharedMemory.Region used = memory.use("input 'x'", "a", "pod");
      ByteBuffer part = used.part("input 'x'", 8, 8);
      memory.unregister("a");
      part.put(0, (byte) 7);
      assertEquals(7, Files.readAllBytes(good)[8]);
      used.leave();
      assertThrows(IllegalStateException.class, () -> part.put(0, (byte) 8));
      Status gone = refusal(() -> memory.use("input 'x'", "a", "pod").leave());
      assertTrue(String.valueOf(gone.getDescription()).contains("not registered in pod 'pod'"));

      memory.register("b", "good", 0, 64);
      SharedMemory.Region cut = memory.use("input 'x'", "b", "pod");
      try (RandomAccessFile shorter = new RandomAccessFile(good.toFile(), "rw")) {
        shorter.setLength(32);
      }
      Status status = refusal(() -> cut.part("input 'x'", 0, 8).clear());
      assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode());
      cut.leave();
    }
  }

  @Test
  void onlyFilesWhoseNamesBeginAsConfiguredAreMapped() throws Exception {
    file("tenant-a", 64);
    file("other", 64);
    try (SharedMemory memory = new SharedMemory(new SharedMemoryConfig(true, "tenant-"), dir)) {
      memory.register("a", "/tenant-a", 0, 64);
      Status status = refusal(() -> memory.register("b", "/other", 0, 64));
      assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode());
      assertTrue(
          String.valueOf(status.getDescription()).contains("'/other', expected a name that begins"),
          status::toString);
    }
  }

  // ---- through a pod

  @Test
  void aPodWithoutSharedMemoryRefusesItByNameOfTheKeyAndDoesNotClaimIt() throws Exception {
    try (TestMesh mesh = new TestMesh(1, config -> config.sharedMemory(SharedMemoryConfig.OFF))) {
      mesh.register("m");
      var client = mesh.client(mesh.pod(0));
      for (Executable step :
          List.<Executable>of(
              () -> client.systemSharedMemoryRegister(register("in", file("good", 64))),
              () ->
                  client.systemSharedMemoryStatus(
                      SystemSharedMemoryStatusRequest.getDefaultInstance()),
              () ->
                  client.systemSharedMemoryUnregister(
                      SystemSharedMemoryUnregisterRequest.getDefaultInstance()),
              () ->
                  client.modelInfer(
                      ModelInferRequest.newBuilder()
                          .setModelName("m")
                          .addInputs(shared("x", "FP32", 0, 8))
                          .build()))) {
        Status status = TestMesh.failure(step);
        assertEquals(Status.Code.UNIMPLEMENTED, status.getCode(), status::toString);
        assertTrue(
            String.valueOf(status.getDescription()).contains("pod.sharedMemory.enabled"),
            status::toString);
      }
      var metadata = client.serverMetadata(ServerMetadataRequest.getDefaultInstance());
      assertFalse(metadata.getExtensionsList().contains("system_shared_memory"));
    }
  }

  private static InferParameter text(String value) {
    return InferParameter.newBuilder().setStringParam(value).build();
  }

  private static InferParameter number(long value) {
    return InferParameter.newBuilder().setInt64Param(value).build();
  }

  private static InferInputTensor shared(String name, String type, long offset, long bytes) {
    return InferInputTensor.newBuilder()
        .setName(name)
        .setDatatype(type)
        .addShape(2)
        .putParameters("shared_memory_region", text("in"))
        .putParameters("shared_memory_offset", number(offset))
        .putParameters("shared_memory_byte_size", number(bytes))
        .build();
  }

  private static InferRequestedOutputTensor output(String name, long offset, long bytes) {
    return InferRequestedOutputTensor.newBuilder()
        .setName(name)
        .putParameters("shared_memory_region", text("out"))
        .putParameters("shared_memory_offset", number(offset))
        .putParameters("shared_memory_byte_size", number(bytes))
        .build();
  }

  /** The echo of a runtime that answers raw requests raw, output by output as asked. */
  private static ModelInferResponse echo(ModelInferRequest request) {
    ModelInferResponse.Builder response = ModelInferResponse.newBuilder();
    for (int i = 0; i < request.getInputsCount(); i++) {
      InferInputTensor input = request.getInputs(i);
      assertEquals(0, input.getParametersCount(), "the model sees a plain request");
      response
          .addOutputs(
              ModelInferResponse.InferOutputTensor.newBuilder()
                  .setName(input.getName())
                  .setDatatype(input.getDatatype())
                  .addAllShape(input.getShapeList()))
          // A copy, as the engine makes.
          .addRawOutputContents(ByteString.copyFrom(request.getRawInputContents(i).toByteArray()));
    }
    return response.build();
  }

  @Test
  void inputsAreReadWhereTheyLieAndOutputsAreWrittenWhereTheyAreWanted() throws Exception {
    assumeTrue(Files.isDirectory(Path.of("/dev/shm")), "this machine has no /dev/shm");
    Path in = Files.createTempFile(Path.of("/dev/shm"), "orlop-test-", "");
    Path out = Files.createTempFile(Path.of("/dev/shm"), "orlop-test-", "");
    try (TestMesh mesh = new TestMesh(2)) {
      ByteBuffer numbers = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN);
      numbers.putFloat(8, 1.5f).putFloat(12, -2f);
      Files.write(in, numbers.array());
      Files.write(out, new byte[64]);
      mesh.register("m");
      for (FakeRuntime runtime : mesh.runtimes) {
        runtime.functions.put("m", SharedMemoryTest::echo);
      }
      var first = mesh.client(mesh.pod(0));
      first.modelInfer(
          TestMesh.request("m").toBuilder()
              .addRawInputContents(ByteString.copyFrom(new byte[8]))
              .build());
      int holder = mesh.holder("m");
      var client = mesh.client(mesh.pod(holder));
      client.systemSharedMemoryRegister(register("in", in));
      client.systemSharedMemoryRegister(register("out", out));
      assertEquals(
          64,
          client
              .systemSharedMemoryStatus(SystemSharedMemoryStatusRequest.getDefaultInstance())
              .getRegionsOrThrow("in")
              .getByteSize());
      ModelInferRequest request =
          ModelInferRequest.newBuilder()
              .setModelName("m")
              .addInputs(shared("x", "FP32", 8, 8))
              .addInputs(InferInputTensor.newBuilder().setName("y").setDatatype("INT8").addShape(2))
              .addRawInputContents(ByteString.copyFrom(new byte[] {5, 6}))
              .addOutputs(output("x", 16, 32))
              .addOutputs(InferRequestedOutputTensor.newBuilder().setName("y"))
              .build();
      ModelInferResponse answer = client.modelInfer(request);
      assertEquals(
          "out",
          answer.getOutputs(0).getParametersOrThrow("shared_memory_region").getStringParam());
      assertEquals(
          8, answer.getOutputs(0).getParametersOrThrow("shared_memory_byte_size").getInt64Param());
      assertEquals(ByteString.EMPTY, answer.getRawOutputContents(0));
      assertArrayEquals(new byte[] {5, 6}, answer.getRawOutputContents(1).toByteArray());
      ByteBuffer written = ByteBuffer.wrap(Files.readAllBytes(out)).order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(1.5f, written.getFloat(16));
      assertEquals(-2f, written.getFloat(20));

      Status small =
          TestMesh.failure(
              () ->
                  client.modelInfer(request.toBuilder().setOutputs(0, output("x", 0, 4)).build()));
      assertEquals(Status.Code.INVALID_ARGUMENT, small.getCode());
      Status beyond =
          TestMesh.failure(
              () ->
                  client.modelInfer(
                      request.toBuilder().setInputs(0, shared("x", "FP32", 60, 8)).build()));
      assertTrue(
          String.valueOf(beyond.getDescription()).contains("do not lie within the 64 bytes"));

      // What counts is the pod that runs the model, whichever pod is called.
      var other = mesh.client(mesh.pod(1 - holder));
      assertEquals(2, other.modelInfer(request).getOutputsCount());
      other.systemSharedMemoryRegister(register("in", in));
      var unregister =
          client.systemSharedMemoryUnregister(
              SystemSharedMemoryUnregisterRequest.newBuilder().setName("in").build());
      assertEquals(0, unregister.getSerializedSize());
      Status elsewhere = TestMesh.failure(() -> other.modelInfer(request));
      assertTrue(
          String.valueOf(elsewhere.getDescription())
              .contains(
                  "'in' is not registered in pod 'pod-" + holder + "', where the model runs"));
      assertEquals(Status.Code.INVALID_ARGUMENT, elsewhere.getCode());
    } finally {
      Files.deleteIfExists(in);
      Files.deleteIfExists(out);
    }
  }

  private static SystemSharedMemoryRegisterRequest register(String name, Path file) {
    return SystemSharedMemoryRegisterRequest.newBuilder()
        .setName(name)
        .setKey("/" + file.getFileName())
        .setByteSize(64)
        .build();
  }

  @Test
  void aRegionMayBeUnregisteredWhileACallReadsIt() throws Exception {
    assumeTrue(Files.isDirectory(Path.of("/dev/shm")), "this machine has no /dev/shm");
    Path in = Files.createTempFile(Path.of("/dev/shm"), "orlop-test-", "");
    try (TestMesh mesh = new TestMesh(1)) {
      Files.write(in, new byte[64]);
      mesh.register("m");
      CountDownLatch gate = new CountDownLatch(1);
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.functions.put("m", SharedMemoryTest::echo);
      runtime.inferGate = gate;
      var client = mesh.client(mesh.pod(0));
      client.systemSharedMemoryRegister(register("in", in));
      ModelInferRequest request =
          ModelInferRequest.newBuilder()
              .setModelName("m")
              .addInputs(shared("x", "FP32", 0, 8))
              .build();
      CompletableFuture<ModelInferResponse> answer =
          CompletableFuture.supplyAsync(() -> client.modelInfer(request));
      TestMesh.await("the inference", () -> runtime.running.get() == 1);
      var done =
          client.systemSharedMemoryUnregister(
              SystemSharedMemoryUnregisterRequest.newBuilder().setName("in").build());
      assertEquals(0, done.getSerializedSize());
      gate.countDown();
      assertEquals(8, answer.get(60, TimeUnit.SECONDS).getRawOutputContents(0).size());
      Status gone = TestMesh.failure(() -> client.modelInfer(request));
      assertEquals(Status.Code.INVALID_ARGUMENT, gone.getCode());
    } finally {
      Files.deleteIfExists(in);
    }
  }

  @Test
  void outputsComeAsTheirBestClasses() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      mesh.register("m");
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.functions.put("m", SharedMemoryTest::echo);
      ByteBuffer scores = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN);
      for (float score : new float[] {0.1f, 0.7f, 0.2f, 0.5f, 0.5f, 0f}) {
        scores.putFloat(score);
      }
      ModelInferRequest request =
          ModelInferRequest.newBuilder()
              .setModelName("m")
              .addInputs(
                  InferInputTensor.newBuilder()
                      .setName("x")
                      .setDatatype("FP32")
                      .addShape(2)
                      .addShape(3))
              .addRawInputContents(ByteString.copyFrom(scores.array()))
              .addOutputs(
                  InferRequestedOutputTensor.newBuilder()
                      .setName("x")
                      .putParameters("classification", number(2)))
              .build();
      ModelInferResponse flat = mesh.client(mesh.pod(0)).modelInfer(request);
      assertEquals("BYTES", flat.getOutputs(0).getDatatype());
      assertEquals(List.of(2L), flat.getOutputs(0).getShapeList());
      assertEquals(List.of("0.700000:1", "0.500000:3"), texts(flat.getRawOutputContents(0)));

      var tensor =
          inference.ModelMetadataResponse.TensorMetadata.newBuilder()
              .setName("x")
              .setDatatype("FP32")
              .addShape(-1)
              .addShape(3);
      runtime.metadata.put(
          "m",
          inference.ModelMetadataResponse.newBuilder()
              .addInputs(tensor)
              .addOutputs(tensor)
              .build());
      ModelInferResponse batched = mesh.client(mesh.pod(0)).modelInfer(request);
      assertEquals(List.of(2L, 2L), batched.getOutputs(0).getShapeList());
      assertEquals(
          List.of("0.700000:1", "0.200000:2", "0.500000:0", "0.500000:1"),
          texts(batched.getRawOutputContents(0)));
    }
  }

  private static List<String> texts(ByteString raw) {
    ByteBuffer in = raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    java.util.ArrayList<String> texts = new java.util.ArrayList<>();
    while (in.hasRemaining()) {
      byte[] text = new byte[in.getInt()];
      in.get(text);
      texts.add(new String(text, java.nio.charset.StandardCharsets.UTF_8));
    }
    return texts;
  }
}
