from rock.wire.codes import codes

__all__ = ["codes"]
