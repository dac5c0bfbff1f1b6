package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The contract on a mounted claim, and what is special about files that are used in place. */
final class FileSourceTest extends SourceContract {
  @TempDir Path temp;
  private Path claim;
  private ModelPuller puller;

  @BeforeEach
  void open() throws IOException {
    claim = Files.createDirectories(temp.resolve("mounts/claim"));
    puller =
        new ModelPuller(
            Fixtures.config(temp.resolve("cache"), 1 << 20, Map.of())
                .withRoots(temp.resolve("mounts"), null));
  }

  @AfterEach
  void close() {
    puller.close();
  }

  @Override
  ModelPuller puller() {
    return puller;
  }

  @Override
  void put(String name, byte[] bytes) throws IOException {
    Path file = claim.resolve(name);
    Files.createDirectories(file.getParent());
    Files.write(file, bytes);
  }

  @Override
  ModelLocation location(String name) {
    return Fixtures.at("pvc://claim/" + name);
  }

  @Test
  void usesFilesWhereTheyLie() throws Exception {
    put("m/a", new byte[10]);
    try (Pulled pulled = puller.pull(location("m"));
        Pulled file = puller.pull(Fixtures.at(claim.resolve("m/a").toUri().toString()))) {
      assertEquals(claim.resolve("m"), pulled.directory());
      assertEquals(claim.resolve("m/a"), file.path());
      assertEquals(0, puller.stats().cacheBytes());
      assertEquals(2, puller.stats().inPlace());
      assertTrue(pulled.fromDisk());
    }
    assertTrue(Files.exists(claim.resolve("m/a")), "closing must not delete what is not ours");
  }

  @Test
  void followsALinkInsideTheClaimAndRefusesOneThatLeavesIt() throws Exception {
    put("real/a", new byte[10]);
    Files.createSymbolicLink(claim.resolve("inside"), claim.resolve("real"));
    try (Pulled pulled = puller.pull(location("inside"))) {
      assertEquals(10, pulled.bytes());
    }
    Path secret = Files.writeString(temp.resolve("secret"), "not a model");
    Files.createDirectories(claim.resolve("evil"));
    Files.createSymbolicLink(claim.resolve("evil/model"), secret);
    Files.createSymbolicLink(claim.resolve("direct"), secret);
    for (String name : new String[] {"evil", "evil/model", "direct"}) {
      PullException e =
          Fixtures.refused(PullException.Kind.BAD_LOCATION, () -> puller.pull(location(name)));
      assertTrue(e.getMessage().contains("outside"), e.getMessage());
    }
  }

  @Test
  void keepsFileLocationsBelowTheirRoot() throws Exception {
    Path root = Files.createDirectories(temp.resolve("models"));
    Files.writeString(root.resolve("m"), "model");
    Path other = Files.writeString(temp.resolve("other"), "other");
    try (ModelPuller fenced =
        new ModelPuller(
            Fixtures.config(temp.resolve("cache2"), 1 << 20, Map.of()).withRoots(null, root))) {
      fenced.pull(Fixtures.at("file:" + root.resolve("m"))).close();
      Fixtures.refused(
          PullException.Kind.BAD_LOCATION, () -> fenced.pull(Fixtures.at("file:" + other)));
    }
  }

  @Test
  void namesTheLastDirectoryThatExists() {
    PullException e =
        Fixtures.refused(
            PullException.Kind.NOT_FOUND, () -> puller.pull(Fixtures.at("pvc://unmounted/m")));
    assertTrue(
        e.getMessage().endsWith("what exists of it is " + temp.resolve("mounts")), e::getMessage);
    assertFalse(Files.exists(temp.resolve("mounts/unmounted")));
  }
}
