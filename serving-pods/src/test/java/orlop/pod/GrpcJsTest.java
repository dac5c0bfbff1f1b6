package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.payload.PayloadLog;
import orlop.placement.Alias;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.puller.ModelPuller;
import orlop.puller.PullerConfig;
import orlop.registry.LocalRegistry;
import orlop.runtime.OnnxModels;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;

/**
 * Another gRPC stack, {@code @grpc/grpc-js} with code made from the protocol file, drives two real
 * pods: {@code conformance.js} holds the checks. The packages are pinned by a lock file and
 * installed from npm; where there is no npm or none of its packages can be had, the test says so
 * and is skipped.
 */
@Tag("slow")
class GrpcJsTest {
  private static final int CHECKS = 46;
  private static final List<String> TYPES =
      List.of(
          "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16",
          "BF16", "FP32", "FP64", "BYTES");

  @TempDir Path dir;

  @Test
  void anotherStackGetsWhatTheProtocolFilePromises() throws Exception {
    Path work = install();
    PullerConfig pulling = PullerConfig.defaults(dir.resolve("cache"), 64L << 20);
    try (LocalRegistry registry = new LocalRegistry();
        ModelPuller puller = new ModelPuller(pulling);
        OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults());
        ServingPod a = start("a", registry, puller, runtime);
        ServingPod b = start("b", registry, puller, runtime)) {
      for (String type : TYPES) {
        model(registry, "id_" + type, OnnxModels.identity(type, -1, 2));
      }
      model(registry, "linear", OnnxModels.linear(0.5f, 1, 2));
      model(registry, "to_FP16", OnnxModels.cast("FP32", "FP16", -1, 2));
      model(registry, "bad", "no model".getBytes(StandardCharsets.UTF_8));
      registry.compareAndSetAlias(
          "alias", null, new Alias("alias", "", "linear", "linear", Set.of(), ""));
      Path protos = Path.of("..", "mesh-api", "src", "main", "protobuf").toAbsolutePath();
      Ended ended =
          run(
              work,
              300,
              "node",
              "conformance.js",
              protos.normalize().toString(),
              "127.0.0.1:" + a.grpcPort(),
              "127.0.0.1:" + b.grpcPort());
      assertEquals(0, ended.status, ended.output);
      assertTrue(ended.output.contains(CHECKS + " checks, 0 failed"), ended.output);
      assertTrue(a.stats().hops() + b.stats().hops() > 0, "no call took a hop");
    }
  }

  private void model(LocalRegistry registry, String id, byte[] file) throws Exception {
    Path path = Files.write(dir.resolve(id + ".onnx"), file);
    Model unused = registry.createModel(Model.of(id, "onnx", path.toUri().toString(), "", 1));
  }

  private static ServingPod start(
      String id, LocalRegistry registry, ModelPuller puller, OnnxRuntime runtime) throws Exception {
    PodConfig config =
        PodConfig.builder(id, Memory.ram(256L << 20))
            .host("127.0.0.1")
            .ports(0, 0, 0, 0)
            .sharedMemory(new SharedMemoryConfig(true, ""))
            .drainTimeoutMs(5_000)
            .build();
    return ServingPod.start(
        config,
        registry,
        ModelStore.of(puller),
        List.of(runtime),
        PayloadLog.disabled(),
        List.of());
  }

  /** The folder with the checks and the packages that they need. */
  private Path install() throws Exception {
    Path work = Files.createDirectory(dir.resolve("js"));
    for (String name : List.of("package.json", "package-lock.json", "conformance.js")) {
      try (InputStream from = GrpcJsTest.class.getResourceAsStream("/conformance/" + name)) {
        Files.copy(java.util.Objects.requireNonNull(from, name), work.resolve(name));
      }
    }
    for (String tool : List.of("node", "npm")) {
      skipUnless(found(work, tool), tool + " is not installed");
    }
    Ended installed = run(work, 240, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
    skipUnless(installed.status == 0, "npm cannot install the packages: " + installed.output);
    return work;
  }

  private static boolean found(Path work, String tool) throws InterruptedException {
    try {
      return run(work, 60, tool, "--version").status == 0;
    } catch (IOException e) {
      return false;
    }
  }

  private static void skipUnless(boolean can, String why) {
    if (!can) {
      System.getLogger(GrpcJsTest.class.getName())
          .log(System.Logger.Level.ERROR, "SKIPPED: the conformance test by grpc-js: {0}", why);
    }
    assumeTrue(can, why);
  }

  private record Ended(int status, String output) {}

  private static Ended run(Path work, int timeoutS, String... command)
      throws IOException, InterruptedException {
    Path output = Files.createTempFile(work, "output", ".txt");
    Process process =
        new ProcessBuilder(new ArrayList<>(List.of(command)))
            .directory(work.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      boolean ended = process.waitFor(timeoutS, TimeUnit.SECONDS);
      String text = Files.readString(output);
      return new Ended(
          ended ? process.exitValue() : -1, ended ? text : text + "\nno end in " + timeoutS + " s");
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }
}
