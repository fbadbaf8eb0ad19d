# "make packages" fills in what is between @ signs, and puts the result beside the archive of the source.
class Tincan < Formula
  desc "Full-mesh VPN, compatible with tinc"
  homepage "@HOMEPAGE@"
  url "@URL@"
  version "@VERSION@"
  sha256 "@SHA256@"
  license "MPL-2.0"

  depends_on "go" => :build

  def install
    system "make", "build"
    system "make", "install", "PREFIX=#{prefix}", "MANDIR=#{man}", "BASHDIR=#{bash_completion}",
           "ZSHDIR=#{zsh_completion}", "FISHDIR=#{fish_completion}"
  end

  def caveats
    <<~EOS
      To run a network as a service: sudo tincan -n NETWORK service install
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/tincan version")
    system bin/"tincan", "-c", testpath/"net", "init", "alice"
    assert_path_exists testpath/"net/hosts/alice"
  end
end
